"""Annotations to draw: objects of a dataset's ground truth, or predictions of a detector."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from bpt_det.data.rle import encode_segmentation
from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.utils.opencv import cv2  # before detectron2 imports it: explains a missing libGL

# isort: split
from detectron2.structures import BoxMode, Instances

Box = tuple[float, float, float, float]  # XYXY, pixels
Mask = np.ndarray | dict[str, Any]


@dataclass(frozen=True)
class Annotation:
    """One object in an image, annotated or predicted.

    Args:
        class_index: contiguous index of its class.
        box: XYXY in pixels of the image.
        mask: bool (H, W), or its run-length code, which takes kilobytes where pixels take
            megabytes; of the image at any size. None draws the box.
        score: in [0, 1]; None for ground truth.
        is_crowd: a region of objects that were not separated; drawn striped.
    """

    class_index: int
    box: Box
    mask: Mask | None = None
    score: float | None = None
    is_crowd: bool = False


def ground_truth_annotations(record: dict, height: int, width: int) -> list[Annotation]:
    """Return the annotations of a record of Detectron2's standard form at another image size."""
    size = (record["height"], record["width"])
    annotations = []
    for entry in record.get("annotations", ()):
        box = BoxMode.convert(entry["bbox"], entry["bbox_mode"], BoxMode.XYXY_ABS)
        mask = entry.get("segmentation")
        annotation = Annotation(
            class_index=entry["category_id"],
            box=tuple(box),
            mask=None if not mask else encode_segmentation(mask, *size),
            is_crowd=bool(entry.get("iscrowd", 0)),
        )
        annotations.append(scale_annotation(annotation, size, (height, width)))
    return annotations


def predicted_annotations(
    instances: Instances, height: int | None = None, width: int | None = None
) -> list[Annotation]:
    """Return a detector's predictions in one image, on the CPU.

    Args:
        instances: with pixels or `RunLengthMasks` as masks, if any.
        height: of a picture of the image to draw them on; None: that of the image.
        width: of it.
    """
    size = (height or instances.image_size[0], width or instances.image_size[1])
    masks: Sequence[Mask | None] = [None] * len(instances)
    if instances.has("pred_masks"):
        given = instances.pred_masks
        masks = given.codes if isinstance(given, RunLengthMasks) else list(given.numpy())
    annotations = [
        Annotation(class_index, tuple(box), mask, score)
        for class_index, box, mask, score in zip(
            instances.pred_classes.tolist(),
            instances.pred_boxes.tensor.tolist(),
            masks,
            instances.scores.tolist(),
            strict=True,
        )
    ]
    return [scale_annotation(each, instances.image_size, size) for each in annotations]


def mask_share(mask: Mask) -> float:
    """Return the share of the pixels of its image that a mask has."""
    if isinstance(mask, dict):
        return float(mask_util.area(mask)) / (mask["size"][0] * mask["size"][1])
    return float(mask.mean())


def mask_pixels(mask: Mask, height: int, width: int) -> np.ndarray:
    """Return a mask at a size, (H, W) bool, each pixel that of the nearest one."""
    if not isinstance(mask, dict):
        return resize_mask(mask, height, width)
    if list(mask["size"]) == [height, width]:
        return mask_util.decode(mask).astype(bool)
    (pixels,) = RunLengthMasks([mask]).resized(height, width)
    return pixels


def mask_contours(mask: np.ndarray) -> list[np.ndarray]:
    """Return the borders of a mask (H, W) and of its holes, each (N, 2) as (x, y) of pixels."""
    pixels = mask.astype(np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [contour[:, 0] for contour in contours]


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a bool mask (H, W) at another size, each pixel that of the nearest one."""
    if mask.shape == (height, width):
        return mask
    pixels = mask.astype(np.uint8)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def scale_annotation(
    annotation: Annotation, old: tuple[int, int], new: tuple[int, int]
) -> Annotation:
    """Return an annotation of an image of one size (H, W) as it lies in the image at another."""
    rows, columns = new[0] / old[0], new[1] / old[1]
    x0, y0, x1, y1 = annotation.box
    return replace(annotation, box=(x0 * columns, y0 * rows, x1 * columns, y1 * rows))
