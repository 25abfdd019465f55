"""Checks of shapes: boxes against their image, masks against their image and their box."""

from dataclasses import dataclass
from typing import TypeGuard

from pycocotools import mask as coco_mask
from tqdm import tqdm

from bpt_det.data.coco import is_area
from bpt_det.data.rle import RleError, RleSizeError, decode_rle

from .coco_entries import Entries, is_size_valid
from .findings import Findings, place

_BOX_TOLERANCE = 1.0  # pixels beyond the image that count as rounding
_MASK_TOLERANCE = 2.0  # pixels by which a mask may leave its box or image
_AREA_FACTOR = 2.0  # by which an area may differ from that of a mask ...
_LEAST_COMPARED = 100.0  # ... of at least so many pixels
_LARGEST = 1e15  # pixels; what is computed from such numbers is still finite

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


class _UnusableMask(Exception):
    """A mask that cannot be checked further, with kind and detail of the finding."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


def check_boxes(entries: Entries, findings: Findings) -> None:
    """Check every box, given as x, y, width, height in pixels."""
    for index, annotation, image in entries.annotations:
        fault = _box_fault(annotation["bbox"], image["height"], image["width"])
        if fault:
            findings.add(fault[0], place("annotations", index, annotation, image), fault[1])


def is_box(value: object) -> TypeGuard[list[float]]:
    """Return whether a value is a list of four finite numbers."""
    return isinstance(value, list) and len(value) == 4 and are_finite(value)


def are_finite(values: list) -> bool:
    """Return whether all values are numbers, neither NaN nor beyond all reason."""
    return all(type(value) in (int, float) and abs(value) <= _LARGEST for value in values)


def _box_fault(box: object, image_height: int, image_width: int) -> tuple[str, str] | None:
    """Return kind and detail of what is wrong with a box, if anything is."""
    if not is_box(box):
        text = repr(box)
        return "bbox_malformed", f"bbox is {text if len(text) < 60 else text[:57] + '...'}"
    x, y, width, height = box
    detail = f"bbox {box}"
    if width < 0 or height < 0:
        return "bbox_negative_size", f"{detail}; it is x, y, width, height"
    if width == 0 or height == 0:
        return "bbox_zero_size", detail
    if min(image_height, image_width) < 1:
        return None
    detail += f" in {image_width} x {image_height} pixels"
    if x >= image_width or y >= image_height or x + width <= 0 or y + height <= 0:
        return "bbox_outside_image", detail
    beyond = max(-x, -y, x + width - image_width, y + height - image_height)
    if beyond > _BOX_TOLERANCE:
        return "bbox_beyond_image", f"{detail}: {beyond:g} pixels beyond"
    return None


def check_masks(entries: Entries, limits: Limits, findings: Findings) -> None:
    """Check every mask, and that either all annotations have one or none has."""
    without = []
    for index, annotation, image in tqdm(entries.annotations, desc="masks", disable=None):
        if not annotation.get("segmentation"):
            without.append((index, annotation, image))
        elif is_size_valid(image):
            for kind, detail in _mask_faults(annotation, image, limits):
                findings.add(kind, place("annotations", index, annotation, image), detail)
    if without and len(without) == len(entries.annotations):
        findings.add("no_masks", {"entry": "annotations"}, "no annotation has a segmentation")
        return
    for index, annotation, image in without:
        findings.add("mask_missing", place("annotations", index, annotation, image))


def _mask_faults(annotation: dict, image: dict, limits: Limits) -> list[tuple[str, str]]:
    """Return kind and detail of everything that is wrong with a mask."""
    segmentation = annotation["segmentation"]
    size = (image["height"], image["width"])
    box: Box | None
    try:
        if isinstance(segmentation, list):
            area, most, box = _measure_polygons(segmentation, *size, limits.min_mask_area)
        elif isinstance(segmentation, dict):
            area, box = _measure_rle(segmentation, *size)
            most = area
        else:
            kind = type(segmentation).__name__
            detail = f"segmentation is of type {kind}, not polygons or RLE"
            raise _UnusableMask("wrong_type", detail)
    except _UnusableMask as unusable:
        return [(unusable.kind, unusable.detail)]
    faults = []
    if area == 0:
        faults.append(("mask_empty", "its area is 0 pixels"))
    elif area < limits.min_mask_area:
        faults.append(
            ("mask_tiny", f"its area is {area} pixels, less than {limits.min_mask_area:g}")
        )
    recorded = annotation.get("area")
    if most >= _LEAST_COMPARED and is_area(recorded) and recorded <= _LARGEST:
        if not area / _AREA_FACTOR <= recorded <= most * _AREA_FACTOR:
            faults.append(("area_mismatch", f"area is {recorded}, the mask has {most} pixels"))
    if box is None:
        return faults
    beyond = max(-box[0], -box[1], box[2] - size[1], box[3] - size[0])
    if beyond > _MASK_TOLERANCE:
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
) -> tuple[float, float, Box]:
    """Return least and greatest area in pixels, and bounding box.

    The parts may overlap: the least is that of the largest part, or under ``min_area`` of all, and
    the greatest is the sum. It is 0 where the polygons reach too far to be drawn.
    """
    for polygon in polygons:
        if not isinstance(polygon, list) or not are_finite(polygon):
            raise _UnusableMask("polygon_malformed", "a polygon is no list of finite numbers")
        if len(polygon) < 6 or len(polygon) % 2:
            raise _UnusableMask("polygon_malformed", f"a polygon of {len(polygon)} numbers")
    x0, y0 = (min(min(polygon[i::2]) for polygon in polygons) for i in (0, 1))
    x1, y1 = (max(max(polygon[i::2]) for polygon in polygons) for i in (0, 1))
    longest = max(height, width)
    if min(x0, y0) < -longest or max(x1, y1) > 2 * longest:  # too far to be drawn
        return min_area, 0, (x0, y0, x1, y1)
    parts = coco_mask.frPyObjects(polygons, height, width)
    areas = coco_mask.area(parts)
    area = areas.max()
    if area < min_area and len(parts) > 1:
        area = coco_mask.area(coco_mask.merge(parts))
    return int(area), int(areas.sum()), (x0, y0, x1, y1)


def _measure_rle(rle: dict, height: int, width: int) -> tuple[float, Box | None]:
    """Return area in pixels and bounding box, None if the mask is empty."""
    try:
        lengths = decode_rle(rle, height, width)
    except RleError as error:
        kind = "rle_size" if isinstance(error, RleSizeError) else "rle_malformed"
        raise _UnusableMask(kind, str(error)) from error
    area = int(lengths[1::2].sum())
    if area == 0:
        return 0, None
    compressed = coco_mask.frPyObjects(
        {"size": [height, width], "counts": lengths.tolist()}, height, width
    )
    x, y, box_width, box_height = coco_mask.toBbox(compressed).tolist()
    return area, (x, y, x + box_width, y + box_height)


def _disagreement(mask_box: Box, bbox: list[float]) -> float | None:
    """Return the IoU of two boxes, or None if they agree within the tolerance."""
    x, y, width, height = bbox
    box = (x, y, x + width, y + height)
    if max(abs(a - b) for a, b in zip(mask_box, box, strict=True)) <= _MASK_TOLERANCE:
        return None
    overlap = [min(mask_box[i + 2], box[i + 2]) - max(mask_box[i], box[i]) for i in range(2)]
    shared = max(overlap[0], 0) * max(overlap[1], 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (mask_box, box)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0
