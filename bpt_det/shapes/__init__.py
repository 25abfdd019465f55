"""Shapes: the embedded dataset of rendered images with masks, and crops of them by class."""

from .categories import CATEGORIES, Category
from .crops import write_shape_crops
from .dataset import write_shapes
from .render import Instance, RenderedImage, render_image

__all__ = [
    "CATEGORIES",
    "Category",
    "Instance",
    "RenderedImage",
    "render_image",
    "write_shape_crops",
    "write_shapes",
]
