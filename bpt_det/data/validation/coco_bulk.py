"""Boxes and masks that are clearly sound, found for thousands at once.

What is not clear is left to `coco_shapes`, which looks at each alone and says what is wrong.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

CHUNK = 20_000  # annotations at once: one odd mask makes a whole chunk unclear
LARGEST = 1e15  # pixels; what is computed from such numbers is still finite
LEAST_SIDE = 0.01  # pixels of a box; nothing can be predicted so exactly that it is met
_NUMBERS = {int, float}
_SLACK = 1.6  # by which a recorded area may differ from a measured one

Located = Sequence[tuple[int, dict, dict]]  # position, annotation, image


def boxes_in_sizes(annotations: Located) -> np.ndarray:
    """Return boxes beside height and width of their image, (n, 6).

    A box that is not four finite numbers is NaN, which nothing equals or exceeds.
    """
    table = np.full((len(annotations), 6), np.nan)
    for start in range(0, len(annotations), CHUNK):
        chunk = annotations[start : start + CHUNK]
        rows = table[start : start + CHUNK]
        boxes = _boxes(chunk)
        if boxes is not None:
            rows[:, :4] = boxes
        else:
            for row, located in zip(rows, chunk, strict=True):
                box = _boxes([located])
                if box is not None:
                    row[:4] = box[0]
        rows[:, 4:] = _sizes(chunk)
    return table


def clear_boxes(boxes: np.ndarray, tolerance: float) -> np.ndarray:
    """Return which boxes lie within their image and have a size, (n,) bool.

    Args:
        boxes: see `boxes_in_sizes`.
        tolerance: pixels by which a box may leave its image.
    """
    x, y, width, height, rows, columns = boxes.T
    is_inside = (np.minimum(x, y) >= -tolerance) & (x < columns) & (y < rows)
    is_inside &= (x + width <= columns + tolerance) & (y + height <= rows + tolerance)
    return (
        is_inside & (np.minimum(width, height) >= LEAST_SIDE) & (x + width > 0) & (y + height > 0)
    )


def clear_masks(
    chunk: Located, boxes: np.ndarray, tolerance: float, min_area: float, min_box_iou: float
) -> np.ndarray:
    """Return which masks are polygons within their image that fit their box and area, (n,) bool.

    Args:
        chunk: of annotations.
        boxes: of these, see `boxes_in_sizes`.
        tolerance: pixels by which a mask may leave its box or image.
        min_area: square pixels below which it is called tiny.
        min_box_iou: least IoU with the box, beyond the tolerance.
    """
    is_clear = np.zeros(len(chunk), bool)
    indexes = [i for i, (_, a, _) in enumerate(chunk) if type(a.get("segmentation")) is list]
    chosen = [chunk[i] for i in indexes]
    measured = _measure([annotation["segmentation"] for _, annotation, _ in chosen])
    if measured is None:
        return is_clear
    extent, largest, total, mean_width = measured
    rows, columns = boxes[indexes, 4:].T
    boxes = boxes[indexes, :4]
    good = (extent[:, :2].min(axis=1) >= -tolerance) & (extent[:, 2] <= columns + tolerance)
    good &= extent[:, 3] <= rows + tolerance
    # Pixels and square pixels differ by about half the perimeter, which is area / mean_width.
    good &= largest * (1 - 1 / np.maximum(mean_width, 1e-9)) >= 1 + min_area
    recorded = _recorded_areas(chosen)
    good &= (recorded >= largest / _SLACK) & (recorded <= total * _SLACK)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    fits = (np.abs(corners - extent) <= tolerance).all(axis=1)
    good &= (fits | (_ious(corners, extent) > min_box_iou)) & (boxes[:, 2:].min(axis=1) > 0)
    is_clear[indexes] = good
    return is_clear


def _sizes(chunk: Located) -> np.ndarray:
    """Return height and width of the image of each annotation, (n, 2)."""
    sides = [[image[key] for _, _, image in chunk] for key in ("height", "width")]
    try:
        table = np.array(sides, dtype=np.float64)
    except OverflowError:  # an integer of hundreds of digits
        table = np.array([[min(side, LARGEST) for side in row] for row in sides], np.float64)
    return table.T


def _boxes(chunk: Located) -> np.ndarray | None:
    """Return boxes, (n, 4), or None if one is not four finite numbers."""
    boxes = [annotation["bbox"] for _, annotation, _ in chunk]
    if set(map(type, boxes)) - {list} or set(map(len, boxes)) - {4}:
        return None
    numbers = _numbers(list(chain.from_iterable(boxes)))
    return None if numbers is None else numbers.reshape(-1, 4)


def _numbers(values: list) -> np.ndarray | None:
    """Return finite numbers as float64, or None if something among them is none."""
    if set(map(type, values)) - _NUMBERS:
        return None
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return numbers if bool((np.abs(numbers) <= LARGEST).all()) else None


def _recorded_areas(chunk: Located) -> np.ndarray:
    """Return recorded areas, (n,); NaN, which equals nothing, where there is none."""
    areas = [annotation.get("area") for _, annotation, _ in chunk]
    usable = [a if type(a) is float or (type(a) is int and a < LARGEST) else np.nan for a in areas]
    return np.array(usable, dtype=np.float64)


def _measure(
    segmentations: list[list],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Return of masks as polygons extent XYXY (n, 4), area of the largest part and of all (n,).

    The last array is the mean width of the largest part: twice its area over its perimeter. None if
    one of them is not a list of polygons of three points or more.
    """
    num_parts = np.fromiter(map(len, segmentations), dtype=np.int64)
    parts = list(chain.from_iterable(segmentations))
    if not parts or num_parts.min() == 0 or set(map(type, parts)) - {list}:
        return None
    lengths = np.fromiter(map(len, parts), dtype=np.int64)
    if lengths.min() < 6 or (lengths % 2).any():
        return None
    numbers = _numbers(list(chain.from_iterable(parts)))
    if numbers is None:
        return None
    points = numbers.reshape(-1, 2)
    ends = np.cumsum(lengths // 2)
    starts = ends - lengths // 2
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = starts
    after = points[following]
    crossed = points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]
    areas = np.abs(np.add.reduceat(crossed, starts)) / 2
    lines = np.hypot(*(after - points).T)
    widths = 2 * areas / np.maximum(np.add.reduceat(lines, starts), 1e-9)
    first = np.cumsum(num_parts) - num_parts  # part of each mask
    least = np.minimum.reduceat(np.minimum.reduceat(points, starts), first)
    most = np.maximum.reduceat(np.maximum.reduceat(points, starts), first)
    largest = np.maximum.reduceat(areas, first)
    is_largest = areas == np.repeat(largest, num_parts)
    width = np.maximum.reduceat(np.where(is_largest, widths, 0), first)
    return np.concatenate([least, most], axis=1), largest, np.add.reduceat(areas, first), width


def _ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes XYXY pair by pair, (n,)."""
    overlap = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = overlap.clip(min=0).prod(axis=1)
    areas = [(c[:, 2:] - c[:, :2]).prod(axis=1) for c in (a, b)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
