"""The embedded data set: rendered shapes with instance masks, in COCO's format."""

from .categories import CATEGORIES, Category
from .dataset import write_shapes
from .render import Instance, RenderedImage, render_image

__all__ = [
    "CATEGORIES",
    "Category",
    "Instance",
    "RenderedImage",
    "render_image",
    "write_shapes",
]
