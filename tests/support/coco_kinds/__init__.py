"""COCO files of strangers: hundreds of kinds, and what is right for each."""

from . import boxes, files, flags, ids, images, masks  # noqa: F401  register their kinds
from .kinds import KINDS

__all__ = ["KINDS"]
