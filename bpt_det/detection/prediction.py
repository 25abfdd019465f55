"""Running a trained detector on single images: which ones, reading them, what it finds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from detectron2.data.detection_utils import read_image
from detectron2.structures import Instances
from PIL import Image
from torch import nn

from bpt_det.errors import InputError

from .visualization import DrawnObject

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def folder_records(folder: str) -> list[dict]:
    """Return one record per image file of a folder, sorted by name; subfolders are not searched.

    Raises:
        InputError: there is no such folder, or it holds no image.
    """
    if not Path(folder).is_dir():
        raise InputError(f"--input '{folder}' is not a folder; give one that holds images.")
    files = [f for f in sorted(Path(folder).iterdir()) if f.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise InputError(
            f"--input '{folder}' holds no images; files that end in {', '.join(IMAGE_SUFFIXES)} "
            "count, subfolders do not."
        )
    return [{"file_name": str(file), "image_id": file.name} for file in files]


def spread_evenly(records: list[dict], count: int) -> list[dict]:
    """Return ``count`` records, or all if there are fewer, evenly spread in order of image_id.

    The records in that order are cut into ``count`` stretches of (nearly) the same length; the
    middle one of each is taken, so the same data give the same images.
    """
    records = sorted(records, key=lambda record: record["image_id"])
    count = min(count, len(records))
    return [records[(2 * i + 1) * len(records) // (2 * count)] for i in range(count)]


def read_rgb(path: str) -> np.ndarray:
    """Return an image as RGB (H, W, 3), uint8, turned upright as its EXIF data say.

    Raises:
        InputError: it is missing or cannot be decoded.
    """
    try:
        return np.ascontiguousarray(read_image(path, "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"image '{path}' cannot be read ({error}); restore the file or remove it."
        ) from error


@torch.no_grad()
def predict(
    model: nn.Module, mapper: Callable[[dict], dict], record: dict, height: int, width: int
) -> Instances:
    """Return what a detector in evaluation mode finds in one image, on the CPU.

    Args:
        model: maps a list of one mapped record to its ``instances``.
        mapper: the mapper of the test data.
        record: at least ``file_name`` and ``image_id``.
        height, width: boxes and masks are given at this size, whatever the size of the file.
    """
    mapped = {**mapper(record), "height": height, "width": width}
    return model([mapped])[0]["instances"].to("cpu")


def predicted_objects(instances: Instances, score_threshold: float) -> list[DrawnObject]:
    """Return the predictions (on the CPU) whose score is at least the threshold, for drawing."""
    kept = instances[instances.scores >= score_threshold]
    masks = kept.pred_masks.numpy() if kept.has("pred_masks") else [None] * len(kept)
    columns = (kept.pred_classes.tolist(), kept.pred_boxes.tensor.tolist(), masks)
    return [
        DrawnObject(class_index, tuple(box), mask, score)
        for class_index, box, mask, score in zip(*columns, kept.scores.tolist(), strict=True)
    ]
