"""Classification datasets in their official layouts, in folders or zip archives."""

from bpt_det.data.image_files import check_images, read_image

from .datasets import ClassificationData, load_classification

__all__ = ["ClassificationData", "check_images", "load_classification", "read_image"]
