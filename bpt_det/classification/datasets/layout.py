"""What every reader of an official layout returns."""

from dataclasses import dataclass
from typing import NamedTuple

SPLITS = ("train", "val", "test")
TRAINVAL = "trainval"  # the first two together, for final numbers
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


class LabelledImage(NamedTuple):
    """An image of a data set: path within it, class id as the data set counts, and split."""

    path: str
    class_id: int | str
    split: str


@dataclass
class Layout:
    """The images of a data set and the names of its classes by class id.

    ``source`` says, for errors and warnings, where the lists come from. ``splits`` are those
    that the data set itself makes.
    """

    images: list[LabelledImage]
    class_names: dict[int | str, str]
    source: str
    splits: tuple[str, ...]
