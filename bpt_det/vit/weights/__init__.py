"""Pre-trained weights of a ViT: one reader a publisher's format, all to timm's names."""

from .load_report import LoadReport
from .loading import load_weights

__all__ = ["LoadReport", "load_weights"]
