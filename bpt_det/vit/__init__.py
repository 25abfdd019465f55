"""The frozen network: timm's Vision Transformer, its weights, and prompts in its blocks."""

from .architectures import ARCHITECTURES, build_vit
from .checkpoints import LoadReport, load_mae_weights
from .prompted_vit import PromptedViT, fingerprint

__all__ = [
    "ARCHITECTURES",
    "LoadReport",
    "PromptedViT",
    "build_vit",
    "fingerprint",
    "load_mae_weights",
]
