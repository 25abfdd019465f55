"""Frozen network: timm's Vision Transformer, its weights, and prompts in its blocks."""

from .architectures import ARCHITECTURES, build_vit
from .backbones import BACKBONES, Backbone
from .identity import fingerprint
from .network import ColumnarViT, adapt
from .prompted_vit import PromptedViT
from .statistics import TokenStatistics, collect_statistics
from .weights import LoadReport, load_weights

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "Backbone",
    "ColumnarViT",
    "LoadReport",
    "PromptedViT",
    "TokenStatistics",
    "adapt",
    "build_vit",
    "collect_statistics",
    "fingerprint",
    "load_weights",
]
