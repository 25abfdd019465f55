"""Labels of annotations: text, width, and positions that overlap as little as possible."""

from collections.abc import Sequence

import numpy as np

from .annotations import Annotation, Box
from .fonts import cut_text, drawable_names, load_font, split_by_font

_MOST_LETTERS = 40  # of a name; a longer one would hide what it names
_POINT = 100 / 72  # pixels in a typographic point at Matplotlib's 100 dpi


def label_text(annotation: Annotation, class_names: Sequence[str] | None) -> str:
    """Return the class and score; the class's number where its name is not known."""
    index, text = annotation.class_index, f"class {annotation.class_index}"
    if class_names is not None and index < len(class_names):
        text = cut_text(drawable_names(class_names)[index], _MOST_LETTERS)
    if annotation.score is not None:
        text += f" {annotation.score:.0%}"
    return f"{text} (crowd)" if annotation.is_crowd else text


def place_labels(
    places: Sequence[tuple[Box, tuple[float, float]]],
    texts: Sequence[str],
    points: float,
    height: int,
    width: int,
) -> list[tuple[float, float]]:
    """Return (x, y) of the top left corner of each label, inside the panel.

    The small objects, which are last, choose first. Each takes the first of a few positions near it
    that overlaps no earlier label, or else the one that overlaps them least.

    Args:
        places: box of each object, XYXY, and its center (x, y), in pixels of the panel.
        texts: of the labels.
        points: size of the letters.
        height: of the panel.
        width: of it.
    """
    taken: list[Box] = []
    positions = []
    for place, text in zip(reversed(places), reversed(texts), strict=True):
        label_width = text_width(text, points * _POINT) + 2 * _POINT
        label_height = 1.4 * points * _POINT
        boxes = []
        for x, y in _candidates(*place, label_width, label_height):
            x = max(2, min(x, width - label_width - 2))
            y = max(2, min(y, height - label_height - 2))
            boxes.append((x, y, x + label_width, y + label_height))
        best = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        positions.append(best[:2])
    return positions[::-1]


def _candidates(
    box: Box, middle: tuple[float, float], width: float, height: float
) -> list[tuple[float, float]]:
    left, top, right, bottom = box
    center_x, center_y = middle
    center = (center_x - width / 2, center_y - height / 2)
    inside = [center, (left, top), (left, bottom - height), (right - width, top)]
    outside = [(center[0], top - height), (center[0], bottom)]
    outside += [(right, center[1]), (left - width, center[1])]
    is_roomy = right - left > 1.2 * width and bottom - top > 3 * height
    return inside + outside if is_roomy else [*outside, center]


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def text_width(text: str, size: float, bold: bool = False) -> int:
    """Return the width of a line in pixels."""
    stretches = split_by_font(text, bold)
    return int(np.ceil(sum(load_font(path, size).getlength(part) for path, part in stretches)))
