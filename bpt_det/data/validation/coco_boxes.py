"""Checks of boxes against their image."""

from .coco_entries import Entries
from .findings import Findings, place

_TOLERANCE = 1.0  # pixels beyond the image that count as rounding
_LARGEST = 1e15  # pixels; what is computed from such numbers is still finite


def check_boxes(entries: Entries, findings: Findings) -> None:
    """Check every box, given as x, y, width, height in pixels."""
    for index, annotation, image in entries.annotations:
        found = _fault(annotation["bbox"], image["height"], image["width"])
        if found:
            where = place("annotations", index, annotation, image)
            findings.add(found[0], where, found[1])


def is_box(value: object) -> bool:
    """Return whether a value is a list of four finite numbers."""
    return isinstance(value, list) and len(value) == 4 and are_finite(value)


def are_finite(values: list) -> bool:
    """Return whether all values are numbers, neither NaN nor beyond all reason."""
    return all(type(value) in (int, float) and abs(value) <= _LARGEST for value in values)


def _fault(box: object, image_height: int, image_width: int) -> tuple[str, str] | None:
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
    if beyond > _TOLERANCE:
        return "bbox_beyond_image", f"{detail}: {beyond:g} pixels beyond"
    return None
