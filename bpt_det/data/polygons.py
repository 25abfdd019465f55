"""Polygons of masks: the edges of their pixels, exact but for what polygons cannot say."""

import numpy as np
import shapely

from .rle import decode_rle


def mask_to_polygons(code: dict) -> list[list[float]] | None:
    """Return the polygons [x, y, x, y, ...] along the pixels of a mask, in pixels.

    Args:
        code: run-length code of the mask, in any of COCO's forms.

    Returns:
        One polygon for each part; None if one has a hole, which COCO's polygons cannot have.
    """
    height, width = code["size"]
    lengths = decode_rle(code, height, width)
    ends = np.cumsum(lengths)
    boxes = []
    for start, end in zip(ends[0:-1:2], ends[1::2], strict=False):
        for column in range(start // height, -(-end // height)):
            low, high = max(start, column * height), min(end, (column + 1) * height)
            if low < high:
                top = low - column * height
                boxes.append(shapely.box(column, top, column + 1, top + high - low))
    union = shapely.unary_union(boxes)
    parts = [part for part in getattr(union, "geoms", [union]) if not part.is_empty]
    if any(part.interiors for part in parts):
        return None
    return [[float(v) for point in part.exterior.coords[:-1] for v in point] for part in parts]
