"""Labels of drawn objects: their text, how wide it is, and where there is room for it."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import ImageFont

from .annotations import DrawnObject

_POINT = 100 / 72  # pixels in a typographic point at Matplotlib's 100 dpi


def label_text(one: DrawnObject, thing_classes: Sequence[str] | None) -> str:
    """Return the class and score; the class's number where its name is not known."""
    is_named = thing_classes is not None and one.class_index < len(thing_classes)
    name = thing_classes[one.class_index] if is_named else f"class {one.class_index}"
    if one.score is not None:
        name += f" {one.score:.0%}"
    return f"{name} (crowd)" if one.is_crowd else name


def place_labels(
    objects: Sequence[DrawnObject], texts: Sequence[str], points: float, height: int, width: int
) -> list[tuple[float, float]]:
    """Return (x, y) of the top left corner of each label, inside the panel.

    The small objects choose first. Each takes the first of a few places near it that overlaps no
    earlier label, or else the one that overlaps them least.
    """
    taken: list[tuple[float, float, float, float]] = []
    places = []
    for one, text in zip(reversed(objects), reversed(texts), strict=True):
        label_width = text_width(text, points * _POINT) + 2 * _POINT
        label_height = 1.4 * points * _POINT
        boxes = []
        for x, y in _candidates(one, label_width, label_height):
            x = max(2, min(x, width - label_width - 2))
            y = max(2, min(y, height - label_height - 2))
            boxes.append((x, y, x + label_width, y + label_height))
        best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        places.append(best[:2])
    return places[::-1]


def _candidates(one: DrawnObject, width: float, height: float) -> list[tuple[float, float]]:
    left, top, right, bottom = one.box
    center_x, center_y = (left + right) / 2, (top + bottom) / 2
    if one.mask is not None and one.mask.any():
        center_y, center_x = np.median(one.mask.nonzero(), axis=1)
    center = (center_x - width / 2, center_y - height / 2)
    inside = [center, (left, top), (left, bottom - height), (right - width, top)]
    outside = [(center[0], top - height), (center[0], bottom)]
    outside += [(right, center[1]), (left - width, center[1])]
    is_roomy = right - left > 1.2 * width and bottom - top > 3 * height
    return inside + outside if is_roomy else [*outside, center]


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


@lru_cache
def font(size: float) -> ImageFont.FreeTypeFont:
    """The font that Matplotlib, and so `Visualizer`, writes with."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def text_width(text: str, size: float) -> int:
    """Width in pixels."""
    return int(np.ceil(font(size).getlength(text)))
