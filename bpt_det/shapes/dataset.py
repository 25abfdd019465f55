"""Shapes dataset: rendered images in COCO's layout.

    <root>/annotations/instances_train.json   <root>/train/000000000001.jpg …
    <root>/annotations/instances_val.json     <root>/val/000000000001.jpg …
    <root>/shapes.json                        the parameters that made it

The bytes depend on the parameters (and on the versions of numpy and OpenCV) only. An image depends
on its seed, split, size and number, so a larger dataset begins with the smaller one.
"""

import json
import logging
import os
from pathlib import Path

from bpt_det.utils.progress import progress_bar

from .categories import CATEGORIES
from .output_folder import check_at_least, make_folder, write_jpeg
from .render import MIN_IMAGE_SIZE, Instance, render_image
from .segmentation import bounding_box, encode_segmentation

RECORD_NAME = "shapes.json"
RENDERER_VERSION = 1  # raise it with any change of the pictures or annotations

logger = logging.getLogger(__name__)


def _annotation(number: int, image_id: int, instance: Instance) -> dict:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": instance.category_id,
        "iscrowd": int(instance.is_crowd),
        "area": int(instance.mask.sum()),
        "bbox": bounding_box(instance.mask),
        "segmentation": encode_segmentation(instance.mask, instance.is_crowd),
    }


def _write_split(root: Path, split: str, num_images: int, image_size: int, seed: int) -> None:
    folder = root / split
    folder.mkdir()
    images, annotations = [], []
    for index in progress_bar(iterable=range(num_images), desc=f"shapes {split}"):
        pixels, instances = render_image(seed, index, split=split, image_size=image_size)
        image_id = index + 1
        file_name = f"{image_id:012d}.jpg"
        write_jpeg(folder / file_name, pixels)
        height, width = pixels.shape[:2]
        images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        for instance in instances:
            annotations.append(_annotation(len(annotations) + 1, image_id, instance))
    content = {
        "info": {"description": f"bpt_det shapes, {split}", "version": str(RENDERER_VERSION)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": category.id, "name": category.name, "supercategory": "shape"}
            for category in CATEGORIES
        ],
    }
    path = root / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(content, separators=(",", ":")))
    logger.info("%s: %d images, %d annotations", split, len(images), len(annotations))


def write_shapes(
    root: str | os.PathLike,
    num_train: int,
    num_val: int,
    image_size: int = 128,
    seed: int = 0,
) -> None:
    """Write the dataset into the folder ``root``, atomically.

    Does nothing if ``root`` already holds the same dataset.

    Args:
        root: folder to make; it may exist if it is empty.
        num_train: number of training images, at least 1.
        num_val: number of validation images, at least 1.
        image_size: longest side of the images in pixels, at least ``MIN_IMAGE_SIZE``.
        seed: at least 0.

    Raises:
        InputError: an argument is out of range, ``root`` holds something else or cannot be
            written.
    """
    counts = {"train": num_train, "val": num_val}
    parameters = {f"num_{split}": count for split, count in counts.items()}
    parameters |= {"image_size": image_size, "seed": seed}
    lowest = {"num_train": 1, "num_val": 1, "image_size": MIN_IMAGE_SIZE, "seed": 0}
    check_at_least(parameters, lowest)

    def write(folder: Path) -> None:
        (folder / "annotations").mkdir()
        for split, count in counts.items():
            _write_split(folder, split, count, image_size, seed)

    make_folder(root, {**parameters, "renderer_version": RENDERER_VERSION}, RECORD_NAME, write)
