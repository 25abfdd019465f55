"""Pre-trained weights of a ViT: one reader per format, all converting to timm's names."""

from .loading import LoadReport, load_weights

__all__ = ["LoadReport", "load_weights"]
