"""What is drawn on a picture: objects, annotated or predicted."""

from dataclasses import dataclass, replace

import numpy as np

from bpt_det.utils.opencv import cv2  # before detectron2 imports it: explains a missing libGL

# isort: split
from detectron2.structures import BoxMode
from detectron2.utils.visualizer import GenericMask


@dataclass(frozen=True)
class DrawnObject:
    """One object, annotated or predicted.

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


def ground_truth_objects(record: dict, height: int, width: int) -> list[DrawnObject]:
    """Return the annotations of a record of Detectron2's standard form at another image size."""
    scale = np.tile([width / record["width"], height / record["height"]], 2)
    objects = []
    for annotation in record.get("annotations", ()):
        box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
        mask = None
        if annotation.get("segmentation"):
            mask = GenericMask(annotation["segmentation"], record["height"], record["width"]).mask
            mask = resize_mask(mask.astype(bool), height, width)
        objects.append(
            DrawnObject(
                class_index=annotation["category_id"],
                box=tuple(np.asarray(box) * scale),
                mask=mask,
                is_crowd=bool(annotation.get("iscrowd", 0)),
            )
        )
    return objects


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a bool mask (H, W) at another size, each pixel that of the nearest one."""
    if mask.shape == (height, width):
        return mask
    pixels = mask.astype(np.uint8)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)


def resize_object(one: DrawnObject, old: tuple[int, int], new: tuple[int, int]) -> DrawnObject:
    """Return an object of an image of one size (H, W) as it lies in the image at another."""
    scale = (new[1] / old[1], new[0] / old[0]) * 2
    box = tuple(side * factor for side, factor in zip(one.box, scale, strict=True))
    return replace(one, box=box, mask=None if one.mask is None else resize_mask(one.mask, *new))
