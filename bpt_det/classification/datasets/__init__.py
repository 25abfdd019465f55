"""Classification datasets in their official layouts, in folders or zip archives."""

from bpt_det.classification.datasets.images import check_images, read_image
from bpt_det.classification.datasets.loading import ClassificationData, load_classification

__all__ = ["ClassificationData", "check_images", "load_classification", "read_image"]
