"""Segmentations of binary masks in COCO's format: polygons, or run-length codes (RLE).

COCO's polygons are in continuous coordinates, in which pixel (row, column) covers
[column, column + 1] x [row, row + 1]. `cv2.findContours` joins the centers of border pixels
instead, which loses half a pixel on every side. The loops here join the middles of the cracks
between mask and background, so every pixel center is on its proper side of the polygon.
"""

import numpy as np

from bpt_det.data.rle import encode_counts

# One step along a crack to the right, down, left and up; the mask lies at its right hand.
_STEP_Y = np.array([0, 1, 0, -1])
_STEP_X = np.array([1, 0, -1, 0])


def _crack_edges(mask: np.ndarray) -> np.ndarray:
    """Return (4, H + 1, W + 1) bool: a border crack leaves corner (y, x) in that direction."""
    padded = np.pad(mask, 1)
    edges = np.zeros((4, mask.shape[0] + 1, mask.shape[1] + 1), dtype=bool)
    edges[0, :-1, :-1] = mask & ~padded[:-2, 1:-1]  # above a pixel
    edges[1, :-1, 1:] = mask & ~padded[1:-1, 2:]  # right of it
    edges[2, 1:, 1:] = mask & ~padded[2:, 1:-1]  # below it
    edges[3, 1:, :-1] = mask & ~padded[1:-1, :-2]  # left of it
    return edges


def trace_loops(mask: np.ndarray) -> list[np.ndarray]:
    """Return the border of ``mask``, (H, W) bool, as closed loops of points (x, y), each (n, 2).

    Parts that touch at a corner only are apart. Loops around a part have a positive
    `signed_area`, loops around a hole a negative one.
    """
    edges = _crack_edges(mask)
    direction, y, x = np.nonzero(edges)
    end_y, end_x = y + _STEP_Y[direction], x + _STEP_X[direction]
    right, left = (direction + 1) % 4, (direction - 1) % 4
    onward = np.where(edges[direction, end_y, end_x], direction, left)
    onward = np.where(edges[right, end_y, end_x], right, onward)
    number = np.cumsum(edges).reshape(edges.shape) - 1  # of an edge, in the order of nonzero
    following = number[onward, end_y, end_x].tolist()
    middles = np.stack([x + _STEP_X[direction] / 2, y + _STEP_Y[direction] / 2], axis=1)

    loops, seen = [], [False] * len(following)
    for start in range(len(following)):
        loop, edge = [], start
        while not seen[edge]:
            seen[edge] = True
            loop.append(edge)
            edge = following[edge]
        if loop:
            loops.append(_without_straight_points(middles[loop]))
    return loops


def _without_straight_points(loop: np.ndarray) -> np.ndarray:
    steps = np.diff(loop, axis=0, append=loop[:1])
    turns = (steps != np.concatenate([steps[-1:], steps[:-1]])).any(axis=1)
    return loop[turns]


def signed_area(loop: np.ndarray) -> float:
    """Shoelace formula; positive where the loop runs clockwise on the screen (y down)."""
    x, y = loop.T
    step_x, step_y = np.diff(loop, axis=0, append=loop[:1]).T
    return 0.5 * float(x @ step_y - y @ step_x)


def bounding_box(mask: np.ndarray) -> list[int]:
    """Return COCO's [left, top, width, height] of a mask that is not empty, in pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def run_lengths(mask: np.ndarray) -> dict:
    """Return the uncompressed RLE: lengths of runs of 0, 1, 0, … down the columns."""
    flat = np.concatenate([[0], mask.ravel(order="F").astype(np.int8), [0]])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    if counts[-1] == 0:  # the mask holds the last pixel
        counts.pop()
    return {"size": list(mask.shape), "counts": counts}


def encode_segmentation(mask: np.ndarray, is_crowd: bool) -> dict | list[list[float]]:
    """Return COCO's ``segmentation`` of a mask that is not empty.

    A crowd is an uncompressed RLE as in COCO, a mask with a hole a compressed one, which polygons
    cannot express, and any other mask a list of polygons, one for each connected part.
    """
    if is_crowd:
        return run_lengths(mask)
    left, top, width, height = bounding_box(mask)
    loops = trace_loops(mask[top : top + height, left : left + width])
    if any(signed_area(loop) < 0 for loop in loops):
        code = run_lengths(mask)
        lengths = np.array(code["counts"])
        return {**code, "counts": encode_counts(lengths, np.array([len(lengths)]))[0]}
    return [(loop + [left, top]).ravel().tolist() for loop in loops]
