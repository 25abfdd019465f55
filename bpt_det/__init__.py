"""Prompt-tuned detection: BPT prompts on a frozen MAE ViT, for Detectron2."""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from bpt_det.config.loading import get_config, load_config
    from bpt_det.inference.image_classifier import ImageClassifier
    from bpt_det.inference.predictor import Predictor

__all__ = ["ImageClassifier", "Predictor", "__version__", "get_config", "load_config"]

# Imported when they are asked for, since they need Detectron2: the core does without.
_MODULES = {
    "ImageClassifier": "bpt_det.inference.image_classifier",
    "Predictor": "bpt_det.inference.predictor",
    "get_config": "bpt_det.config.loading",
    "load_config": "bpt_det.config.loading",
}

# PyTorch about the code of Detectron2 and fvcore, which works as it is.
warnings.filterwarnings("ignore", r"torch\.meshgrid: in an upcoming release", UserWarning)
warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)
