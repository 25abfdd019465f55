"""Run lengths of RoI masks, computed without pasting the masks into the image.

Detectron2 pastes each soft mask into an image of its own and encodes that. Here only the pixels
around a mask's box are computed, and the runs are moved to where they lie in the image. The result
is that of `paste_masks_in_image` and ``pycocotools.mask.encode``, to the last byte.

Shape legend: N masks, S their side.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bpt_det.data.rle import encode_counts

_CHUNK = 25  # masks; bounds the memory for their windows
# Values this near to the threshold are computed again as Detectron2 does. Two ways to interpolate
# in float32 differ by less: a coordinate of up to S = 28 is rounded to 2e-6, values are in [0, 1].
_TOLERANCE = 1e-5


def encode_roi_masks(
    masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5
) -> list[dict]:
    """Return COCO's compressed run lengths of masks pasted into their boxes.

    Args:
        masks: probabilities within the boxes, (N, S, S), in [0, 1].
        boxes: within the image, not empty, XYXY pixels, (N, 4).
        image_size: (H, W).
        threshold: of a pixel that belongs to the mask.
    """
    masks, boxes = masks.detach().float().cpu(), boxes.detach().float().cpu()
    texts = []
    for start in range(0, len(masks), _CHUNK):
        part = slice(start, start + _CHUNK)
        windows = _windows(boxes[part].numpy(), *image_size)
        is_on = _paste(masks[part], windows, threshold)
        texts += encode_counts(*_run_lengths(is_on, windows, *image_size))
    return [{"size": list(image_size), "counts": text} for text in texts]


@dataclass
class _Windows:
    """The pixels around each of N boxes, in one row: windows one after the other.

    A window lies there column by column. Unless its columns are as high as the image, a pixel that
    is off follows each; one is before all windows and one after each. So no run goes too far.

    Args:
        start: (N, 2) and
        stop: (N, 2), of its pixels, as (x, y).
        pitch: from one column to the next, (N,).
        offset: of its first pixel, (N + 1,); the last is that of the end.
        coordinates: for x and for y, of all pixels of all windows' sides, -1 and 1 being the sides
            of the box.
        side_offset: for x and for y, of the first of them, (N,).
    """

    start: np.ndarray
    stop: np.ndarray
    pitch: np.ndarray
    offset: np.ndarray
    coordinates: tuple[np.ndarray, np.ndarray]
    side_offset: tuple[np.ndarray, np.ndarray]

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return window, column and row within it, of positions in the row."""
        window = np.searchsorted(self.offset, positions, side="right") - 1
        column, row = np.divmod(positions - self.offset[window], self.pitch[window])
        return window, column, row


def _windows(boxes: np.ndarray, height: int, width: int) -> _Windows:
    start = np.maximum(np.floor(boxes[:, :2]) - 1, 0).astype(np.int64)
    stop = np.minimum(np.ceil(boxes[:, 2:]) + 1, (width, height)).astype(np.int64)
    sides = stop - start
    pitch = np.minimum(sides[:, 1] + 1, height)
    coordinates, side_offset = [], []
    for axis in (0, 1):
        length = sides[:, axis]
        first = np.cumsum(length) - length
        pixel = np.arange(length.sum()) - np.repeat(first - start[:, axis], length)
        low, high = (np.repeat(boxes[:, axis + side], length) for side in (0, 2))
        # In float32 and in the order of Detectron2, so that they are equal to its own.
        center = pixel.astype(np.float32) + np.float32(0.5)
        coordinates.append((center - low) / (high - low) * np.float32(2) - np.float32(1))
        side_offset.append(first)
    offset = np.concatenate([[1], 1 + np.cumsum(sides[:, 0] * pitch + 1)])
    return _Windows(start, stop, pitch, offset, tuple(coordinates), tuple(side_offset))


def _paste(masks: Tensor, windows: _Windows, threshold: float) -> np.ndarray:
    """Return which pixels of all windows are on, in one row."""
    weights = [_weights(values, masks.shape[-1]) for values in windows.coordinates]
    surely, perhaps = (np.zeros(windows.offset[-1], bool) for _ in range(2))
    least, most = np.float32(threshold - _TOLERANCE), np.float32(threshold + _TOLERANCE)
    sides = (windows.stop - windows.start).tolist()
    pitches, offsets = windows.pitch.tolist(), windows.offset.tolist()
    first_x, first_y = (offset.tolist() for offset in windows.side_offset)
    for index, mask in enumerate(masks.numpy()):
        (width, height), pitch = sides[index], pitches[index]
        across = weights[0][first_x[index] : first_x[index] + width]
        down = weights[1][first_y[index] : first_y[index] + height]
        values = across @ mask.T @ down.T  # (width, height)
        pixels = slice(offsets[index], offsets[index] + width * pitch)
        for is_on, bound in ((surely, most), (perhaps, least)):
            np.greater_equal(values, bound, out=is_on[pixels].reshape(width, pitch)[:, :height])
    unsure = np.flatnonzero(surely != perhaps)
    surely[unsure] = _sample(masks, windows, unsure) >= threshold
    return surely


def _weights(coordinates: np.ndarray, side: int) -> np.ndarray:
    """Return how much each of S pixels of a mask counts at a coordinate, (…, S)."""
    place = (coordinates + np.float32(1)) * np.float32(side / 2) - np.float32(0.5)
    weights = np.abs(place[:, None] - np.arange(side, dtype=np.float32))
    np.subtract(np.float32(1), weights, out=weights)
    return np.maximum(weights, 0, out=weights)


def _sample(masks: Tensor, windows: _Windows, positions: np.ndarray) -> np.ndarray:
    """Return what Detectron2 computes at some positions of the row."""
    window, *place = windows.locate(positions)
    x, y = (
        values[offset[window] + index]
        for values, offset, index in zip(
            windows.coordinates, windows.side_offset, place, strict=True
        )
    )
    points = torch.from_numpy(np.stack([x, y], axis=1))
    sampled = np.empty(len(positions), np.float32)
    for index in np.unique(window):
        chosen = window == index
        grid = points[torch.from_numpy(chosen)][None, None]
        mask = masks[None, None, index]
        sampled[chosen] = F.grid_sample(mask, grid, align_corners=False).flatten().numpy()
    return sampled


def _run_lengths(
    is_on: np.ndarray, windows: _Windows, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of the runs of each mask, one mask after the other, and their numbers."""
    changes = np.flatnonzero(is_on[1:] != is_on[:-1]) + 1
    window, column, row = windows.locate(changes)
    start = windows.start[window]
    pixel = (start[:, 0] + column) * height + start[:, 1] + row
    size, num_masks = height * width, len(windows.start)
    is_inside = pixel < size  # else the last run is on, and nothing follows it
    window, pixel = window[is_inside], pixel[is_inside]
    bounds = np.concatenate([window * size + pixel, np.arange(num_masks + 1) * size])
    bounds.sort()
    return np.diff(bounds), np.bincount(window, minlength=num_masks) + 1
