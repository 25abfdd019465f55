"""Official layouts of classification datasets, in folders or zip archives."""

from .reading import ClassificationData, load_classification

__all__ = ["ClassificationData", "load_classification"]
