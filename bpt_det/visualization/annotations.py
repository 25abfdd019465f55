"""Annotations to draw: objects of a dataset's ground truth, or predictions of a detector."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.utils.opencv import cv2  # before detectron2 imports it: explains a missing libGL

# isort: split
from detectron2.structures import BoxMode, Instances
from detectron2.utils.visualizer import GenericMask


@dataclass(frozen=True)
class Annotation:
    """One object in an image, annotated or predicted.

    Args:
        class_index: contiguous index of its class.
        box: XYXY in pixels of the image.
        mask: bool (H, W); None draws the box.
        score: in [0, 1]; None for ground truth.
        is_crowd: a region of objects that were not separated; drawn striped.
    """

    class_index: int
    box: tuple[float, float, float, float]
    mask: np.ndarray | None = None
    score: float | None = None
    is_crowd: bool = False


def ground_truth_annotations(record: dict, height: int, width: int) -> list[Annotation]:
    """Return the annotations of a record of Detectron2's standard form at another image size."""
    scale = np.tile([width / record["width"], height / record["height"]], 2)
    annotations = []
    for entry in record.get("annotations", ()):
        box = BoxMode.convert(entry["bbox"], entry["bbox_mode"], BoxMode.XYXY_ABS)
        mask = None
        if entry.get("segmentation"):
            mask = GenericMask(entry["segmentation"], record["height"], record["width"]).mask
            mask = resize_mask(mask.astype(bool), height, width)
        annotations.append(
            Annotation(
                class_index=entry["category_id"],
                box=tuple(np.asarray(box) * scale),
                mask=mask,
                is_crowd=bool(entry.get("iscrowd", 0)),
            )
        )
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
    masks: Iterable[np.ndarray | None] = [None] * len(instances)
    if instances.has("pred_masks"):
        given = instances.pred_masks
        is_coded = isinstance(given, RunLengthMasks)
        masks = given.resized(*size) if is_coded else (resize_mask(m, *size) for m in given.numpy())
    scale = np.tile([size[1] / instances.image_size[1], size[0] / instances.image_size[0]], 2)
    return [
        Annotation(class_index, tuple(box), mask, score)
        for class_index, box, mask, score in zip(
            instances.pred_classes.tolist(),
            (instances.pred_boxes.tensor.numpy() * scale).tolist(),
            masks,
            instances.scores.tolist(),
            strict=True,
        )
    ]


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a bool mask (H, W) at another size, each pixel that of the nearest one."""
    if mask.shape == (height, width):
        return mask
    pixels = mask.astype(np.uint8)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def resize_annotation(
    annotation: Annotation, old: tuple[int, int], new: tuple[int, int]
) -> Annotation:
    """Return an annotation of an image of one size (H, W) as it lies in the image at another."""
    rows, columns = new[0] / old[0], new[1] / old[1]
    x0, y0, x1, y1 = annotation.box
    box = (x0 * columns, y0 * rows, x1 * columns, y1 * rows)
    mask = None if annotation.mask is None else resize_mask(annotation.mask, *new)
    return replace(annotation, box=box, mask=mask)
