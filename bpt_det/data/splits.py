"""Splits of labeled images: drawn validation splits and fractions of the training images.

They depend on a seed and the images' paths alone: images are put in the order of a hash of their
paths, so a split is the same on every machine, for a folder and a zip archive, and with every
version of Python and NumPy.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bpt_det.utils.errors import InputError

SPLITS = ("train", "val", "test")
# By name, in any case: the split that a folder or file of the name is of.
SPLIT_NAMES = {
    **{name: "train" for name in ("train", "training")},
    **{name: "val" for name in ("val", "valid", "validation")},
    **{name: "test" for name in ("test", "testing")},
}
TRAINVAL = "trainval"  # the first two together, for final numbers


class LayoutError(InputError):
    """Lists of a dataset that contradict each other; where correct ones are is not said yet."""


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


def draw_validation(
    images: Sequence[LabeledImage], share: float, seed: int = 0
) -> list[LabeledImage]:
    """Return the images with part of the training images moved to ``val``.

    The number is the rounded share, at least 1. Classes give in proportion to their size: each the
    whole part of its share, and those with the largest remainders one more. Every class keeps at
    least one training image.

    Args:
        share: in (0, 1), of the training images.

    Raises:
        InputError: no class can give an image.
    """
    by_class = defaultdict(list)
    for image in images:
        if image.split == "train":
            by_class[image.class_id].append(image.path)
    sizes = {class_id: len(paths) for class_id, paths in by_class.items()}
    count = max(1, round(sum(sizes.values()) * share))
    quotas = _class_quotas(sizes, count, seed)
    chosen = {
        path
        for class_id, paths in by_class.items()
        for path in in_hash_order(paths, seed)[: quotas[class_id]]
    }
    return [image._replace(split="val") if image.path in chosen else image for image in images]


def draw_fold(
    images: Sequence[LabeledImage], fold: int, num_folds: int, seed: int = 0
) -> list[LabeledImage]:
    """Return the images with ``train`` and ``val`` divided anew: one of k folds is ``val``.

    The images of each class are dealt out in turn, so folds differ by one image at most, and so do
    the images of a class in them. The only image of a class stays in ``train``.

    Args:
        fold: from 1 to ``num_folds``.
        num_folds: k, at least 2.
    """
    by_class = defaultdict(list)
    for image in images:
        if image.split in ("train", "val"):
            by_class[image.class_id].append(image.path)
    dealt = [
        path
        for class_id in sorted(by_class)
        if len(by_class[class_id]) > 1
        for path in in_hash_order(by_class[class_id], seed)
    ]
    chosen = set(dealt[fold - 1 :: num_folds])
    pooled = [image._replace(split="train") if image.split == "val" else image for image in images]
    return [image._replace(split="val") if image.path in chosen else image for image in pooled]


def take_fraction(
    images: Sequence[LabeledImage], percent: float, seed: int = 0
) -> list[LabeledImage]:
    """Return the given percentage of each class, rounded, at least one image of each.

    A smaller fraction is part of every larger one.

    Args:
        percent: in (0, 100].
    """
    by_class = defaultdict(list)
    for image in images:
        by_class[image.class_id].append(image.path)
    chosen = {
        path
        for paths in by_class.values()
        for path in in_hash_order(paths, seed)[: max(1, round(len(paths) * percent / 100))]
    }
    return [image for image in images if image.path in chosen]


def _class_quotas(sizes: dict[int | str, int], count: int, seed: int) -> dict[int | str, int]:
    total = sum(sizes.values())
    quotas = {c: min(size * count // total, size - 1) for c, size in sizes.items()}
    order = sorted(sizes, key=lambda c: (-(sizes[c] * count % total), _digest(str(c), seed)))
    left = count - sum(quotas.values())
    while left:
        able = [c for c in order if quotas[c] < sizes[c] - 1][:left]
        if not able:
            raise InputError(
                f"a validation split of {count} images cannot be drawn from {total} training "
                f"images of {len(sizes)} classes, since every class must keep one; add images or "
                "give train.json, val.json and test.json"
            )
        for class_id in able:
            quotas[class_id] += 1
        left -= len(able)
    return quotas


def in_hash_order(paths: Sequence[str], seed: int) -> list[str]:
    """Return paths in an order that looks random and depends on them and the seed alone."""
    return sorted(paths, key=lambda path: _digest(path, seed))


def _digest(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{text}".encode("utf-8", "surrogateescape")).digest()
