"""Mask annotations: quick copies, and transforms that yield masks and their tight boxes.

The results are those of Detectron2's `DatasetMapper` with ``recompute_boxes=True``.
"""

import copy

import detectron2.data.transforms as T
import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.data.detection_utils import annotations_to_instances
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks


def copy_annotation(annotation: dict) -> dict:
    """Return a copy to transform; polygons are shared as long as they are lists of numbers.

    Arrays are copied, as transforms write into them.
    """
    copied = {k: copy.deepcopy(value) for k, value in annotation.items() if k != "segmentation"}
    if "segmentation" in annotation:
        polygons = annotation["segmentation"]
        is_shared = isinstance(polygons, list) and all(type(p) is list for p in polygons)
        copied["segmentation"] = polygons if is_shared else copy.deepcopy(polygons)
    return copied


def transform_masks(
    annotations: list[dict],
    transforms: T.TransformList,
    image_size: tuple[int, int],
    mask_format: str,
) -> Instances:
    """Return objects with the tight boxes of their masks, as they are in the transformed image.

    Args:
        annotations: of one image, each with a ``segmentation`` (polygons or RLE).
        transforms: that the image went through.
        image_size: (H, W) of the transformed image in pixels.
        mask_format: "polygon" or "bitmask".

    Raises:
        ValueError: a box or a mask is malformed.
    """
    _check_boxes(annotations)
    unknown_box = {"bbox": np.zeros(4), "bbox_mode": BoxMode.XYXY_ABS}
    transformed = [
        {
            "category_id": annotation["category_id"],
            "segmentation": _transform(annotation["segmentation"], transforms, image_size),
            **unknown_box,
        }
        for annotation in annotations
    ]
    instances = annotations_to_instances(transformed, image_size, mask_format=mask_format)
    masks = instances.gt_masks
    is_polygon = isinstance(masks, PolygonMasks)
    instances.gt_boxes = _polygon_boxes(masks) if is_polygon else _bitmask_boxes(masks)
    return instances


def _check_boxes(annotations: list[dict]) -> None:
    """Check boxes that are not used: a dataset's faults must not depend on the settings."""
    boxes = np.array([annotation["bbox"] for annotation in annotations], dtype=float)
    if boxes.shape != (len(annotations), 4):
        raise ValueError(f"boxes must be four numbers each, got an array of {boxes.shape}")


def _transform(
    segmentation: list | dict, transforms: T.TransformList, image_size: tuple[int, int]
) -> list[np.ndarray] | np.ndarray:
    """Transform a mask as Detectron2's `transform_instance_annotations` does."""
    if isinstance(segmentation, list):
        polygons = [np.asarray(polygon).reshape(-1, 2) for polygon in segmentation]
        return [polygon.reshape(-1) for polygon in transforms.apply_polygons(polygons)]
    if not isinstance(segmentation, dict):
        raise ValueError(f"a mask must be polygons or an RLE, got {type(segmentation).__name__}")
    mask = transforms.apply_segmentation(mask_util.decode(segmentation))
    if mask.shape[:2] != tuple(image_size):
        raise ValueError(f"a mask of {mask.shape[:2]} does not fit an image of {image_size}")
    return mask


def _polygon_boxes(masks: PolygonMasks) -> Boxes:
    """As `PolygonMasks.get_bounding_boxes`, with one reduction for all objects of an image."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    boxes[:, :2] = np.inf  # of an object without a polygon, as there
    owners = [index for index, polygons in enumerate(masks.polygons) if polygons]
    if owners:
        whole = [np.concatenate(masks.polygons[index]) for index in owners]
        starts = np.cumsum([0, *(len(points) // 2 for points in whole[:-1])])
        points = np.concatenate(whole).reshape(-1, 2)
        boxes[owners, :2] = np.minimum.reduceat(points, starts)
        boxes[owners, 2:] = np.maximum.reduceat(points, starts).clip(min=0)
    return Boxes(torch.from_numpy(boxes))


def _bitmask_boxes(masks: BitMasks) -> Boxes:
    """As `BitMasks.get_bounding_boxes`, all objects of an image at once; 0 where one is empty."""
    pixels = masks.tensor.numpy()
    height, width = pixels.shape[1:]
    columns, rows = pixels.any(axis=1), pixels.any(axis=2)
    left, top = columns.argmax(axis=1), rows.argmax(axis=1)
    right = width - columns[:, ::-1].argmax(axis=1)
    bottom = height - rows[:, ::-1].argmax(axis=1)
    boxes = np.stack([left, top, right, bottom], axis=1).astype(np.float32)
    boxes[~columns.any(axis=1)] = 0
    return Boxes(torch.from_numpy(boxes))
