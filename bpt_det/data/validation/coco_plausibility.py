"""Checks of a dataset as a whole: boxes in other units, copies, crowds, turned rectangles."""

import json
from collections import Counter

import numpy as np

from .coco_entries import Entries, shown
from .coco_shapes import has_mask
from .findings import Findings, place

MOST_DETECTIONS = 100  # of an image, in COCO's metrics
_MUCH_CROWD = 0.1  # share of crowd regions; COCO has one in a hundred
_FEW = 10  # objects, below which a whole dataset's habits are not judged
_LEAST_DISAGREEING = 3  # boxes
_HALF = 0.55  # of the image, that boxes of half its resolution stay within
_ALL = {"entry": "annotations"}


def check_plausibility(entries: Entries, findings: Findings) -> None:
    """Look for what no annotation shows alone."""
    _check_crowds(entries, findings)
    _check_units(entries, findings)
    _check_agreement(entries, findings)
    _check_copies(entries, findings)
    _check_turned(entries, findings)
    _check_numbers(entries, findings)
    objects = [index for index, annotation, _ in entries.annotations if _is_object(annotation)]
    if objects and entries.left_out.issuperset(objects):
        findings.add("all_left_out", _ALL, f"none of {len(objects)} objects has a pixel")


def _is_object(annotation: dict) -> bool:
    return not annotation.get("iscrowd")


def _check_crowds(entries: Entries, findings: Findings) -> None:
    num_crowds = len([a for _, a, _ in entries.annotations if not _is_object(a)])
    count = len(entries.annotations)
    if num_crowds > _MUCH_CROWD * count:
        kind = "only_crowds" if num_crowds == count else "many_crowds"
        detail = (
            f"{num_crowds} of {count} annotations are crowd regions (iscrowd 1), left out in "
            "training and ignored in evaluation; set iscrowd to 0 where each is a single object, "
            "as exports of brush masks need it"
        )
        findings.add(kind, _ALL, detail)


def _check_units(entries: Entries, findings: Findings) -> None:
    """Check whether boxes are fractions, two corners, or of an image of half the size."""
    is_usable = np.array([_is_object(a) for _, a, _ in entries.annotations], bool)
    is_usable &= np.isfinite(entries.boxes[:, 0]) & (entries.boxes[:, 4:].min(axis=1) >= 1)
    boxes = entries.boxes[is_usable]
    if not len(boxes):
        return
    x, y, width, height, lines, columns = boxes.T
    share = max(np.max([x, y, width, height]), 0)
    if share <= 1 and min(columns.min(), lines.min()) > 2:
        detail = f"all {len(boxes)} boxes are within [0, 1]; multiply by the size of the image"
        findings.add("boxes_are_fractions", _ALL, detail)
        return
    if len(boxes) < _FEW:
        return
    is_corners = (width > x) & (height > y) & (width <= columns + 1) & (height <= lines + 1)
    leaves = (x + width > columns + 1) | (y + height > lines + 1)
    if is_corners.all() and leaves.mean() > 0.25:
        detail = f"of {len(boxes)} boxes {int(leaves.sum())} reach beyond the image, none does as"
        findings.add("boxes_look_like_corners", _ALL, f"{detail} x0, y0, x1, y1")
    reach = max(((x + width) / columns).max(), ((y + height) / lines).max())
    if reach <= _HALF and len(np.unique(x)) > _FEW:
        detail = f"all {len(boxes)} boxes lie within the first {reach:.0%} of width and height"
        findings.add("boxes_in_one_corner", _ALL, detail)


def _check_agreement(entries: Entries, findings: Findings) -> None:
    """Check whether most boxes disagree with their masks: then one of the two is in other units."""
    count = sum(findings.counts.get(kind, 0) for kind in ("mask_box_mismatch", "mask_empty"))
    if count < _LEAST_DISAGREEING:
        return
    num_masks = sum(has_mask(annotation) for _, annotation, _ in entries.annotations)
    if count <= num_masks / 2:
        return
    detail = f"{count} of {num_masks} boxes; COCO's are x, y, width, height in pixels of the image"
    findings.add("boxes_disagree", _ALL, detail)


def _check_numbers(entries: Entries, findings: Findings) -> None:
    """Find images with more objects than a detector returns and an evaluation counts."""
    counts = Counter([a["image_id"] for _, a, _ in entries.annotations if _is_object(a)])
    for index, image in entries.images:
        if counts[image["id"]] > MOST_DETECTIONS:
            detail = f"{counts[image['id']]} objects"
            findings.add("many_objects", place("images", index, image), detail)


def _check_copies(entries: Entries, findings: Findings) -> None:
    """Find annotations that say the same as an earlier one."""
    annotations = [annotation for _, annotation, _ in entries.annotations]
    try:
        keys: list[tuple] = [(a["image_id"], *a["bbox"]) for a in annotations]
        num_different = len(set(keys))
    except TypeError:  # a box that is no list of numbers
        keys = [(a["image_id"], str(a["bbox"])) for a in annotations]
        num_different = len(set(keys))
    if num_different == len(keys):
        return
    repeated = {key for key, count in Counter(keys).items() if count > 1}
    first: dict[tuple, int] = {}
    for key, (index, annotation, image) in zip(keys, entries.annotations, strict=True):
        if key in repeated:
            fields = ("category_id", "segmentation", "iscrowd")
            whole = (*key, *(json.dumps(annotation.get(field)) for field in fields))
            earlier = first.setdefault(whole, index)
            if earlier != index:
                where = place("annotations", index, annotation, image)
                findings.add("duplicate_annotation", where, f"the same as annotations[{earlier}]")


def _check_turned(entries: Entries, findings: Findings) -> None:
    """Find rectangles with an angle beside them, as tools for annotation export them."""
    for index, annotation, image in entries.annotations:
        attributes = annotation.get("attributes")
        if not isinstance(attributes, dict) or not attributes.get("rotation"):
            continue
        where = place("annotations", index, annotation, image)
        angle = shown(attributes["rotation"])
        findings.add("turned_rectangle", where, f"attributes.rotation is {angle}")
