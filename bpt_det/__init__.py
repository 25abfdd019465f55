"""Prompt-tuned detection: BPT prompts on a frozen MAE ViT, for Detectron2."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bpt_det.inference.predictor import Predictor

__version__ = "0.1.0"
__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    """Import `Predictor` when it is asked for: it needs Detectron2, which the core does without."""
    if name == "Predictor":
        from bpt_det.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
