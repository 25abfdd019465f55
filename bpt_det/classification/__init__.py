"""Image classification: prompted classifiers, their data, evaluation and feature cache."""

import importlib
from typing import TYPE_CHECKING, Any

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
_MODULES = {
    "ClassificationEvaluator": "evaluator",
    "ClassificationMapper": "mapper",
    "PromptedClassifier": "classifier",
    "use_classification_data": "classification_data",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the readers of datasets do without torch and Detectron2."""
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
