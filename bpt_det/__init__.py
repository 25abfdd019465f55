"""Prompt-tuned detection: BPT prompts on a frozen MAE ViT, for Detectron2."""

import warnings
from typing import TYPE_CHECKING

from .utils.lazy import import_on_demand
from .version import __version__

if TYPE_CHECKING:
    from bpt_det.config.loading import get_config, load_config
    from bpt_det.inference.image_classifier import ImageClassifier
    from bpt_det.inference.predictor import Predictor

__all__ = ["ImageClassifier", "Predictor", "__version__", "get_config", "load_config"]

# PyTorch about the code of Detectron2 and fvcore, which works as it is.
warnings.filterwarnings("ignore", r"torch\.meshgrid: in an upcoming release", UserWarning)
warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)

# The core does without Detectron2, which these need.
__getattr__ = import_on_demand(
    __name__,
    {
        "ImageClassifier": "inference.image_classifier",
        "Predictor": "inference.predictor",
        "get_config": "config.loading",
        "load_config": "config.loading",
    },
)
