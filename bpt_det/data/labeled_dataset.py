"""Labeled dataset: all images of a classification dataset and its classes, selected by split."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bpt_det.utils.errors import InputError

from .archives import FileTree
from .splits import SPLITS, TRAINVAL, LabeledImage, Layout, draw_fold, take_fraction


@dataclass(frozen=True)
class LabeledDataset:
    """The images of a whole dataset, read once; `select` returns those of a split.

    Args:
        name: what users call it.
        tree: its files.
        layout: its images with a validation split, and its classes.
        advice: where it comes from; ends the errors.
        expected_counts: images by split, where they are known.
        expected_classes: number of classes, or None where any will do.
    """

    name: str
    tree: FileTree
    layout: Layout
    advice: str
    expected_counts: Mapping[str, int]
    expected_classes: int | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have labeled images."""
        return self.layout.splits

    @property
    def class_names(self) -> list[str]:
        """One per class, in the order of the labels."""
        return [self.layout.class_names[class_id] for class_id in self.class_ids]

    def expected_count(self, split: str) -> int | None:
        """Return the expected number of images of a split, None where it is not known."""
        parts = _parts(split)
        if not all(part in self.expected_counts for part in parts):
            return None
        return sum(self.expected_counts[part] for part in parts)

    def select(self, split: str, fraction: float = 100.0) -> list[LabeledImage]:
        """Return the images of a split, sorted by path.

        Args:
            split: ``train``, ``val``, ``test``, or ``trainval`` for the first two together.
            fraction: percentage of each class's training images, in (0, 100].

        Raises:
            InputError: there is no such split, or images of it are missing.
        """
        check_selection(split, fraction)
        parts = _parts(split)
        if not set(parts) <= set(self.splits):
            raise InputError(
                f"{self.name} has no labeled images for split '{split}' in "
                f"'{self.layout.source}', only for {', '.join(self.splits)}; {self.advice}",
                parameter="split",
            )
        images = sorted(image for image in self.layout.images if image.split in parts)
        self.tree.require([image.path for image in images], f"'{self.layout.source}'")
        if "train" in parts and fraction < 100:
            images = take_fraction(images, fraction)
        return images

    def with_fold(self, fold: str) -> "LabeledDataset":
        """Return the dataset whose validation images are one of k folds of train and val.

        Args:
            fold: ``i/k``, i from 1 to k and k at least 2.

        Raises:
            InputError: the fold is malformed.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", str(fold))
        number, num_folds = map(int, match.groups()) if match else (0, 0)
        if not (num_folds >= 2 and 1 <= number <= num_folds):
            raise InputError(
                f"fold must be i/k with 1 <= i <= k and k >= 2, as 1/5, or null, got '{fold}'.",
                parameter="fold",
            )
        layout = self.layout
        splits = tuple(dict.fromkeys((*layout.splits, "val")))
        folded = replace(layout, images=draw_fold(layout.images, number, num_folds), splits=splits)
        return replace(self, layout=folded, expected_counts={})

    @property
    def class_ids(self) -> list[int | str]:
        """The classes as the dataset counts them; their positions are the labels."""
        return sorted(self.layout.class_names)


def check_selection(split: str, fraction: float) -> None:
    """Check what can be checked before anything is read.

    Raises:
        InputError: a value is out of range.
    """
    if split not in (*SPLITS, TRAINVAL):
        raise InputError(
            f"split '{split}' is not one of {', '.join((*SPLITS, TRAINVAL))}", parameter="split"
        )
    if not isinstance(fraction, int | float) or not 0 < fraction <= 100:
        raise InputError(
            f"fraction={fraction} is not a percentage in (0, 100]", parameter="fraction"
        )


def _parts(split: str) -> tuple[str, ...]:
    return ("train", "val") if split == TRAINVAL else (split,)
