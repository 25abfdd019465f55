"""Checks of masks, polygons or run-length codes, against their image and their box."""

from dataclasses import dataclass

from pycocotools import mask as coco_mask
from tqdm import tqdm

from bpt_det.data.rle import UnusableRle, decode_rle

from .coco_boxes import are_finite, is_box
from .coco_entries import Entries, is_size_valid
from .findings import Findings, place

_TOLERANCE = 2.0  # pixels by which a mask may leave its box or image

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


@dataclass(frozen=True)
class Limits:
    """What counts as wrong.

    Args:
        min_mask_area: pixels; masks below are tiny.
        min_box_iou: in [0, 1]; a mask whose bounding box has less IoU with its box disagrees,
            unless no side of the two is further apart than 2 pixels.
    """

    min_mask_area: float = 4.0
    min_box_iou: float = 0.5


class _Unusable(Exception):
    """A mask that cannot be looked at further; holds kind and detail."""


def check_masks(entries: Entries, limits: Limits, findings: Findings) -> None:
    """Check every mask, and that either all annotations have one or none has."""
    without = []
    for index, annotation, image in tqdm(entries.annotations, desc="masks", disable=None):
        if not annotation.get("segmentation"):
            without.append((index, annotation, image))
        elif is_size_valid(image):
            for kind, detail in _faults(annotation, image, limits):
                findings.add(kind, place("annotations", index, annotation, image), detail)
    if without and len(without) == len(entries.annotations):
        findings.add("no_masks", {"entry": "annotations"}, "no annotation has a segmentation")
        return
    for index, annotation, image in without:
        findings.add("mask_missing", place("annotations", index, annotation, image))


def _faults(annotation: dict, image: dict, limits: Limits) -> list[tuple[str, str]]:
    """Return kind and detail of everything that is wrong with a mask."""
    segmentation = annotation["segmentation"]
    size = (image["height"], image["width"])
    measure = {list: _measure_polygons, dict: _measure_rle}.get(type(segmentation))
    if measure is None:
        kind = type(segmentation).__name__
        return [("wrong_type", f"segmentation is of type {kind}, not polygons or RLE")]
    try:
        area, box = measure(segmentation, *size, limits.min_mask_area)
    except _Unusable as unusable:
        return [unusable.args]
    faults = []
    if area == 0:
        faults.append(("mask_empty", "its area is 0 pixels"))
    elif area < limits.min_mask_area:
        faults.append(
            ("mask_tiny", f"its area is {area} pixels, less than {limits.min_mask_area:g}")
        )
    if box is None:
        return faults
    beyond = max(-box[0], -box[1], box[2] - size[1], box[3] - size[0])
    if beyond > _TOLERANCE:
        detail = f"{beyond:g} pixels beyond {size[1]} x {size[0]}"
        faults.append(("mask_beyond_image", detail))
    if is_box(annotation["bbox"]) and min(annotation["bbox"][2:]) > 0:
        iou = _disagreement(box, annotation["bbox"])
        if iou is not None and iou < limits.min_box_iou:
            mask_box = [round(v, 2) for v in (*box[:2], box[2] - box[0], box[3] - box[1])]
            detail = f"IoU {iou:.2f} of bbox {annotation['bbox']} with the mask's {mask_box}"
            faults.append(("mask_box_mismatch", detail))
    return faults


def _measure_polygons(
    polygons: list, height: int, width: int, min_area: float
) -> tuple[float, Box]:
    """Return area in pixels, exact only under ``min_area``, and bounding box."""
    for polygon in polygons:
        if not isinstance(polygon, list) or not are_finite(polygon):
            raise _Unusable("polygon_malformed", "a polygon is no list of finite numbers")
        if len(polygon) < 6 or len(polygon) % 2:
            raise _Unusable("polygon_malformed", f"a polygon of {len(polygon)} numbers")
    x0, y0 = (min(min(polygon[i::2]) for polygon in polygons) for i in (0, 1))
    x1, y1 = (max(max(polygon[i::2]) for polygon in polygons) for i in (0, 1))
    longest = max(height, width)
    if min(x0, y0) < -longest or max(x1, y1) > 2 * longest:  # too far to be drawn
        return min_area, (x0, y0, x1, y1)
    parts = coco_mask.frPyObjects(polygons, height, width)
    areas = coco_mask.area(parts)
    area = areas.max()
    if area < min_area and len(parts) > 1:
        area = coco_mask.area(coco_mask.merge(parts))
    return int(area), (x0, y0, x1, y1)


def _measure_rle(rle: dict, height: int, width: int, min_area: float) -> tuple[float, Box | None]:
    """Return area in pixels and bounding box, None if the mask is empty."""
    try:
        counts = decode_rle(rle, height, width)
    except UnusableRle as unusable:
        raise _Unusable(*unusable.args) from unusable
    area = int(counts[1::2].sum())
    if area == 0:
        return 0, None
    compressed = coco_mask.frPyObjects(
        {"size": [height, width], "counts": counts.tolist()}, height, width
    )
    x, y, box_width, box_height = coco_mask.toBbox(compressed).tolist()
    return area, (x, y, x + box_width, y + box_height)


def _disagreement(mask_box: Box, bbox: list[float]) -> float | None:
    """Return the IoU of two boxes, or None if they agree within the tolerance."""
    x, y, width, height = bbox
    box = (x, y, x + width, y + height)
    if max(abs(a - b) for a, b in zip(mask_box, box, strict=True)) <= _TOLERANCE:
        return None
    overlap = [min(mask_box[i + 2], box[i + 2]) - max(mask_box[i], box[i]) for i in range(2)]
    shared = max(overlap[0], 0) * max(overlap[1], 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (mask_box, box)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0
