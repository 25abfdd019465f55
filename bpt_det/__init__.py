"""Prompt-tuned detection: BPT prompts on a frozen MAE ViT, for Detectron2."""

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from bpt_det.config.loading import load_config
    from bpt_det.inference.predictor import Predictor

__all__ = ["Predictor", "__version__", "load_config"]


def __getattr__(name: str) -> Any:
    """Import what needs Detectron2 when it is asked for: the core does without."""
    if name == "Predictor":
        from bpt_det.inference.predictor import Predictor

        return Predictor
    if name == "load_config":
        from bpt_det.config.loading import load_config

        return load_config
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
