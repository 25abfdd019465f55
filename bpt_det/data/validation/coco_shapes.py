"""Checks of shapes: boxes against their image, masks against their image and their box."""

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from pycocotools import mask as coco_mask

from bpt_det.data.coco import is_area
from bpt_det.data.rle import RleError, RleSizeError, decode_rle, mask_areas
from bpt_det.utils.progress import progress_bar

from .coco_bulk import CHUNK, LARGEST, LEAST_SIDE, clear_boxes, clear_masks
from .coco_entries import Entries, is_size_valid, shown
from .findings import Findings, place

_BOX_TOLERANCE = 1.0  # pixels beyond the image that count as rounding
_MASK_TOLERANCE = 2.0  # pixels by which a mask may leave its box or image
_AREA_FACTOR = 2.0  # by which an area may differ from that of a mask ...
_LEAST_COMPARED = 100.0  # ... of at least so many pixels
_LEAST_REACH = 100.0  # pixels beyond the image that are never far
_NESTING = "COCO's segmentation is a list of polygons, [[x1, y1, x2, y2, ...]]"

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels
Fault = tuple[str, str]  # kind and detail


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
    is_clear = clear_boxes(entries.boxes, _BOX_TOLERANCE)
    for position in np.flatnonzero(~is_clear).tolist():
        index, annotation, image = entries.annotations[position]
        fault = _box_fault(annotation["bbox"], image["height"], image["width"])
        if fault:
            findings.add(fault[0], place("annotations", index, annotation, image), fault[1])
            if fault[0] in ("bbox_zero_size", "bbox_outside_image"):
                _leave_out(entries, index, annotation)


def _leave_out(entries: Entries, index: int, annotation: dict) -> None:
    if not annotation.get("iscrowd"):  # a crowd region asks nothing of a detector
        entries.left_out.add(index)


def is_box(value: object) -> TypeGuard[list[float]]:
    """Return whether a value is a list of four finite numbers."""
    return isinstance(value, list) and len(value) == 4 and are_finite(value)


def are_finite(values: list) -> bool:
    """Return whether all values are numbers, neither NaN nor beyond all reason."""
    return all(type(value) in (int, float) and abs(value) <= LARGEST for value in values)


def _box_fault(box: object, image_height: int, image_width: int) -> Fault | None:
    """Return kind and detail of what is wrong with a box, if anything is."""
    if not is_box(box):
        text = _text_of(box)
        return "bbox_malformed", f"bbox is {text if len(text) < 60 else text[:57] + '...'}"
    x, y, width, height = box
    detail = f"bbox {box}"
    if width < 0 or height < 0:
        return "bbox_negative_size", f"{detail}; it is x, y, width, height"
    if min(width, height) < LEAST_SIDE:
        return "bbox_zero_size", detail
    if min(image_height, image_width) < 1:
        return None
    detail += f" in {image_width} x {image_height} pixels"
    if _is_far((x, y, x + width, y + height), image_height, image_width):
        return "far_outside", detail
    if x >= image_width or y >= image_height or x + width <= 0 or y + height <= 0:
        return "bbox_outside_image", detail
    beyond = max(-x, -y, x + width - image_width, y + height - image_height)
    if beyond > _BOX_TOLERANCE:
        return "bbox_beyond_image", f"{detail}: {beyond:g} pixels beyond"
    return None


def _text_of(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"of type {type(value).__name__}"


def _is_far(box: Box, height: int, width: int) -> bool:
    """Return whether a shape leaves the image by more than its size: it cannot be meant."""
    reach = max(height, width, _LEAST_REACH)
    beyond = max(-box[0], -box[1], box[2] - width, box[3] - height)
    return beyond > reach


def has_mask(annotation: dict) -> bool:
    """Return whether an annotation has a mask, be it a malformed one; ``[[]]`` is none."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        return any(polygon != [] for polygon in segmentation)
    return bool(segmentation)


def check_masks(entries: Entries, limits: Limits, findings: Findings) -> None:
    """Check every mask, and that either all annotations have one or none has."""
    without = []
    progress = progress_bar(total=len(entries.annotations), desc="masks")
    least = (limits.min_mask_area, limits.min_box_iou)
    for start in range(0, len(entries.annotations), CHUNK):
        part = slice(start, start + CHUNK)
        chunk = entries.annotations[part]
        is_clear = clear_masks(chunk, entries.boxes[part], _MASK_TOLERANCE, *least)
        for position in np.flatnonzero(~is_clear).tolist():
            index, annotation, image = chunk[position]
            if not has_mask(annotation):
                without.append(chunk[position])
                _check_box_area(index, annotation, image, findings)
            elif is_size_valid(image):
                for kind, detail in _mask_faults(annotation, image, limits):
                    findings.add(kind, place("annotations", index, annotation, image), detail)
                    if kind in ("mask_empty", "mask_of_points"):
                        _leave_out(entries, index, annotation)
        progress.update(len(chunk))
    progress.close()
    if without and len(without) == len(entries.annotations):
        findings.add("no_masks", {"entry": "annotations"}, "no annotation has a segmentation")
        return
    for index, annotation, image in without:
        if index in entries.left_out:  # it needs none
            continue
        kind = "crowd_without_mask" if annotation.get("iscrowd") else "mask_missing"
        findings.add(kind, place("annotations", index, annotation, image))


def _check_box_area(index: int, annotation: dict, image: dict, findings: Findings) -> None:
    """Check that an area without a mask is not beyond that of the box."""
    area, box = annotation.get("area"), annotation["bbox"]
    if not is_area(area) or not is_box(box) or area <= _AREA_FACTOR * box[2] * box[3]:
        return
    if area >= _LEAST_COMPARED and min(box[2:]) >= LEAST_SIDE:
        detail = f"area is {shown(area)}, the box has {box[2] * box[3]:g} pixels"
        findings.add("area_mismatch", place("annotations", index, annotation, image), detail)


def _mask_faults(annotation: dict, image: dict, limits: Limits) -> list[Fault]:
    """Return kind and detail of everything that is wrong with a mask."""
    segmentation = annotation["segmentation"]
    size = (int(image["height"]), int(image["width"]))
    box: Box | None
    faults: list[Fault] = []
    try:
        if isinstance(segmentation, list):
            polygons = _sound_polygons(segmentation)
            num_short = sum(polygon != [] for polygon in segmentation) - len(polygons)
            if not polygons:
                return [("mask_of_points", f"it has {num_short} of one or two points alone")]
            if num_short:
                faults.append(("polygon_of_points", f"{num_short} of one or two points"))
            area, most, box = _measure_polygons(polygons, *size, limits.min_mask_area)
        elif isinstance(segmentation, dict):
            area, box = _measure_rle(segmentation, *size)
            most = area
        else:
            kind = type(segmentation).__name__
            detail = f"segmentation is of type {kind}, not polygons or RLE"
            raise _UnusableMask("wrong_type", detail)
    except _UnusableMask as unusable:
        return [(unusable.kind, unusable.detail)]
    if area == 0:
        faults.append(("mask_empty", "its area is 0 pixels"))
    elif area < limits.min_mask_area:
        faults.append(
            ("mask_tiny", f"its area is {area} pixels, less than {limits.min_mask_area:g}")
        )
    recorded = annotation.get("area")
    if most >= _LEAST_COMPARED and is_area(recorded):
        if not area / _AREA_FACTOR <= recorded <= most * _AREA_FACTOR:
            detail = f"area is {shown(recorded)}, the mask has {most} pixels"
            faults.append(("area_mismatch", detail))
    if box is None:
        return faults
    beyond = max(-box[0], -box[1], box[2] - size[1], box[3] - size[0])
    if beyond > _MASK_TOLERANCE:
        detail = f"{beyond:g} pixels beyond {size[1]} x {size[0]}"
        faults.append(("mask_beyond_image", detail))
    if area and is_box(annotation["bbox"]) and min(annotation["bbox"][2:]) > 0:
        iou = _disagreement(box, annotation["bbox"])
        if iou is not None and iou < limits.min_box_iou:
            mask_box = [round(v, 2) for v in (*box[:2], box[2] - box[0], box[3] - box[1])]
            detail = f"IoU {iou:.2f} of bbox {annotation['bbox']} with the mask's {mask_box}"
            faults.append(("mask_box_mismatch", detail))
    return faults


def _sound_polygons(segmentation: list) -> list[list[float]]:
    """Return the polygons of a mask without those of one or two points, which cover no pixel."""
    if all(type(value) in (int, float) for value in segmentation):
        raise _UnusableMask("polygon_malformed", f"its numbers are in no list; {_NESTING}")
    polygons = [polygon for polygon in segmentation if polygon != []]
    for polygon in polygons:
        if isinstance(polygon, list) and all(isinstance(point, list) for point in polygon):
            raise _UnusableMask("polygon_malformed", f"its points are lists; {_NESTING}")
        if not isinstance(polygon, list) or not are_finite(polygon):
            raise _UnusableMask("polygon_malformed", "a polygon is no list of finite numbers")
        if len(polygon) % 2:
            raise _UnusableMask("polygon_malformed", f"a polygon of {len(polygon)} numbers")
    if len(polygons) >= 3 and all(len(polygon) == 2 for polygon in polygons):
        raise _UnusableMask("polygon_malformed", f"each point is a list of its own; {_NESTING}")
    return sound_parts(polygons)


def sound_parts(polygons: list[list[float]]) -> list[list[float]]:
    """Return the polygons of three points or more."""
    return [polygon for polygon in polygons if len(polygon) >= 6]


def _measure_polygons(
    polygons: list, height: int, width: int, min_area: float
) -> tuple[float, float, Box]:
    """Return least and greatest area in pixels, and bounding box.

    The parts may overlap: the least is that of the largest part, or under ``min_area`` of all, and
    the greatest is the sum.
    """
    x0, y0 = (min(min(polygon[i::2]) for polygon in polygons) for i in (0, 1))
    x1, y1 = (max(max(polygon[i::2]) for polygon in polygons) for i in (0, 1))
    if _is_far((x0, y0, x1, y1), height, width):  # drawing it takes as long as it is large
        extent = [round(value, 2) for value in (x0, y0, x1, y1)]
        detail = f"the mask reaches from {extent[:2]} to {extent[2:]} in {width} x {height} pixels"
        raise _UnusableMask("far_outside", detail)
    parts = coco_mask.frPyObjects(polygons, height, width)
    areas = mask_areas(parts).tolist()
    area = max(areas)
    if area < min_area and len(parts) > 1:
        area = int(coco_mask.area(coco_mask.merge(parts)))
    return area, sum(areas), (x0, y0, x1, y1)


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
