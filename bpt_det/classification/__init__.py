"""Image classification: prompted classifiers, their data, evaluation and feature cache."""

from typing import TYPE_CHECKING

from bpt_det.utils.lazy import import_on_demand

if TYPE_CHECKING:
    from .classification_data import use_classification_data
    from .classifier import PromptedClassifier
    from .evaluator import ClassificationEvaluator
    from .mapper import ClassificationMapper

__all__ = [
    "ClassificationEvaluator",
    "ClassificationMapper",
    "PromptedClassifier",
    "use_classification_data",
]

# The readers of datasets do without torch and Detectron2.
__getattr__ = import_on_demand(
    __name__,
    {
        "ClassificationEvaluator": "evaluator",
        "ClassificationMapper": "mapper",
        "PromptedClassifier": "classifier",
        "use_classification_data": "classification_data",
    },
)
