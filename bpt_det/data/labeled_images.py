"""What every reader of an official layout returns."""

from dataclasses import dataclass
from typing import NamedTuple

SPLITS = ("train", "val", "test")
TRAINVAL = "trainval"  # the first two together, for final numbers
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


class LabeledImage(NamedTuple):
    """An image of a dataset: path within it, class id as the dataset counts, and split."""

    path: str
    class_id: int | str
    split: str


@dataclass
class Layout:
    """The images of a dataset and the names of its classes by class id.

    ``source`` says, for errors and warnings, where the lists come from. ``splits`` are those
    that the dataset itself makes.
    """

    images: list[LabeledImage]
    class_names: dict[int | str, str]
    source: str
    splits: tuple[str, ...]
