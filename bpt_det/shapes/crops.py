"""Shape crops: single shapes cut out of rendered images along their masks, by class.

They keep their textures and lie on gray ground.

    <root>/train/<class>/000001.jpg …   <root>/val/…   <root>/test/…
    <root>/shapes_crops.json            the parameters that made it

Every class has the same number of crops in a split, and splits are cut from different images. The
bytes depend on the parameters (and on the versions of numpy and OpenCV) only. Crop k of a class is
the k-th of that class in the stream of images of its seed and split, so a larger dataset begins
with the smaller one.
"""

import logging
import os
from collections import Counter
from pathlib import Path

import numpy as np

from bpt_det.utils.opencv import cv2
from bpt_det.utils.progress import progress_bar

from .categories import CATEGORIES
from .output_folder import check_at_least, make_folder, write_jpeg
from .render import SPLITS, Instance, render_image
from .segmentation import bounding_box

CROPS_RECORD_NAME = "shapes_crops.json"
CROPPER_VERSION = 1  # raise it with any change of the pictures
MIN_CROP_SIZE = 16

_IMAGE_SCALE = 4  # longest side of the rendered images in crop sizes: objects of about one crop
_MARGIN = 0.15  # of the longer side of the box, on each side of it
_MIN_VISIBLE_FRACTION = 0.9  # a disc with a bite out of it may as well be a crescent
_GROUND = 128  # all channels; what was around the object would tell a ViT nothing about its class
_MIN_BOX_FRACTION = 0.5  # longer side of the box in crop sizes: crops are enlarged 1.5x at most

logger = logging.getLogger(__name__)


def cut_out(image: np.ndarray, instance: Instance, crop_size: int) -> np.ndarray | None:
    """Return an object on gray ground, or None where it cannot be told what it is.

    Left out are crowds, objects that are small or partly hidden, and those so large that the
    square does not fit the image.

    Args:
        image: (H, W, 3) uint8.
        instance: one of its objects.
        crop_size: side of the crop in pixels.

    Returns:
        (crop_size, crop_size, 3) uint8; the object is in the middle unless the image ends there.
    """
    if instance.is_crowd or instance.visible_fraction < _MIN_VISIBLE_FRACTION:
        return None
    left, top, width, height = bounding_box(instance.mask)
    longer = max(width, height)
    side = round(longer * (1 + 2 * _MARGIN))
    if longer < _MIN_BOX_FRACTION * crop_size or side > min(image.shape[:2]):
        return None
    x = _start(left + width / 2, side, image.shape[1])
    y = _start(top + height / 2, side, image.shape[0])
    interpolation = cv2.INTER_AREA if side > crop_size else cv2.INTER_CUBIC
    window = slice(y, y + side), slice(x, x + side)
    alone = np.where(instance.mask[window][..., None], image[window], np.uint8(_GROUND))
    return cv2.resize(alone, (crop_size, crop_size), interpolation=interpolation)


def _start(center: float, side: int, length: int) -> int:
    """First pixel of a window of ``side`` pixels around ``center``, moved into [0, length)."""
    return min(max(round(center - side / 2), 0), length - side)


def _write_split(root: Path, split: str, num_crops: int, crop_size: int, seed: int) -> None:
    names = {category.id: category.name for category in CATEGORIES}
    for name in names.values():
        (root / split / name).mkdir(parents=True)
    counts: Counter[str] = Counter()
    total, image_size = num_crops * len(names), _IMAGE_SCALE * crop_size
    with progress_bar(total=total, desc=f"crops {split}") as progress:
        index = 0
        while counts.total() < total:
            image, instances = render_image(seed, index, split=split, image_size=image_size)
            for instance in instances:
                name = names[instance.category_id]
                crop = cut_out(image, instance, crop_size) if counts[name] < num_crops else None
                if crop is not None:
                    counts[name] += 1
                    write_jpeg(root / split / name / f"{counts[name]:06d}.jpg", crop)
                    progress.update()
            index += 1
    logger.info("%s: %d crops of each of %d classes", split, num_crops, len(names))


def write_shape_crops(
    root: str | os.PathLike,
    num_train: int,
    num_val: int,
    num_test: int,
    crop_size: int = 64,
    seed: int = 0,
) -> None:
    """Write shapes as a classification dataset into the folder ``root``, atomically.

    Does nothing if ``root`` already holds the same dataset.

    Args:
        root: folder to make; it may exist if it is empty.
        num_train: number of training crops of each class, at least 1.
        num_val: the same for validation.
        num_test: the same for testing.
        crop_size: side of a crop in pixels, at least ``MIN_CROP_SIZE``.
        seed: at least 0.

    Raises:
        InputError: an argument is out of range, ``root`` holds something else or cannot be
            written.
    """
    counts = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
    parameters = {f"num_{split}": count for split, count in counts.items()}
    lowest = dict.fromkeys(parameters, 1) | {"crop_size": MIN_CROP_SIZE, "seed": 0}
    parameters |= {"crop_size": crop_size, "seed": seed}
    check_at_least(parameters, lowest)

    def write(folder: Path) -> None:
        for split, count in counts.items():
            _write_split(folder, split, count, crop_size, seed)

    make_folder(root, {**parameters, "cropper_version": CROPPER_VERSION}, CROPS_RECORD_NAME, write)
