"""Large-scale jitter: a random resize and crop that computes little more than the crop keeps."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from bpt_det.utils.opencv import cv2  # before detectron2 imports it: explains a missing libGL

# isort: split
import detectron2.data.transforms as T
import shapely
from fvcore.transforms.transform import CropTransform, Transform


class LargeScaleJitter(T.Augmentation):
    """Detectron2's `ResizeScale` and, without padding, its `FixedSizeCrop`, in one step.

    It draws the same random numbers in the same order. Boxes and masks do not differ from those of
    the two, and pictures by at most one gray level (two in one value of millions).

    Args:
        min_scale, max_scale: range of the scale, above 0, relative to the size at which the image's
            longest side is that of the crop.
        size: side of the square crop in pixels; an image that becomes smaller is kept whole.

    Raises:
        ValueError: the range of the scale or the size is not usable.
    """

    def __init__(self, min_scale: float, max_scale: float, size: int) -> None:
        super().__init__()
        if not 0 < min_scale <= max_scale:
            raise ValueError(
                f"min_scale must be above 0 and at most max_scale, got min_scale={min_scale} and "
                f"max_scale={max_scale}."
            )
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}.")
        self._init({"min_scale": min_scale, "max_scale": max_scale, "size": size})
        self._resize = T.ResizeScale(min_scale, max_scale, size, size)
        self._crop = T.FixedSizeCrop((size, size), pad=False)

    def get_transform(self, image: np.ndarray) -> Transform:
        """Return the transform of an image (H, W, 3) or (H, W).

        Raises:
            ValueError: the image is so thin that nothing would be left of it.
        """
        resize = self._resize.get_transform(image)
        if min(resize.new_h, resize.new_w) < 1:
            raise ValueError(
                f"{resize.h} x {resize.w} pixels would become {resize.new_h} x {resize.new_w}; "
                "height and width must be above 0."
            )
        # The crop is drawn by the size of what it is given; nothing is computed yet.
        resized = np.broadcast_to(image[:1, :1], (resize.new_h, resize.new_w, *image.shape[2:]))
        (crop,) = self._crop.get_transform(resized).transforms
        return ResizeCropTransform(resize, crop)


class ResizeCropTransform(Transform):
    """A resizing and then a crop, which computes the resized image about where it is kept.

    Args:
        resize: the resizing, bilinear.
        crop: the crop, which may reach over the right and the lower edge.
    """

    def __init__(self, resize: T.ResizeTransform, crop: CropTransform) -> None:
        super().__init__()
        self.resize, self.crop = resize, crop
        self._start = np.array([crop.x0, crop.y0])
        self._end = self._start + (crop.w, crop.h)

    def apply_image(self, image: np.ndarray) -> np.ndarray:
        """Return the crop (h, w, C) of the resized image (H, W, C); fast for C = 3 and uint8."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            return self.crop.apply_image(self.resize.apply_image(image))
        rows = _window(self.resize.h, self.resize.new_h, self.crop.y0, self.crop.h)
        columns = _window(self.resize.w, self.resize.new_w, self.crop.x0, self.crop.w)
        steps = (rows.step, columns.step)
        source = image[:: rows.step, :: columns.step][: rows.num_read, : columns.num_read]
        resized = _resize(_contiguous(source), (rows.scale, columns.scale))
        kept = _flip(resized[rows.kept, columns.kept], steps)
        # Channels first in memory, so that the mapper's transposition need not copy.
        planes = np.empty((3, *kept.shape[:2]), dtype=np.uint8)
        cv2.split(kept, list(planes))
        return planes.transpose(1, 2, 0)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Return the crop of the resized labels (H, W)."""
        return self.crop.apply_segmentation(self.resize.apply_segmentation(segmentation))

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Return where points (N, 2), as (x, y) in pixels, are in the crop; written in place."""
        return self.crop.apply_coords(self.resize.apply_coords(coords))

    def apply_polygons(self, polygons: list[np.ndarray]) -> list[np.ndarray]:
        """Return polygons, each (N, 2), cut off at the edges of the crop; written in place."""
        cropped = []
        for polygon in self.resize.apply_polygons(polygons):
            low, high = polygon.min(axis=0), polygon.max(axis=0)
            if len(polygon) > 2 and ((high <= self._start) | (low >= self._end)).any():
                continue  # at most an edge or a corner is in the crop, which is no polygon
            is_inside = ((low >= self._start) & (high <= self._end)).all()
            if is_inside and shapely.Polygon(polygon).is_valid:
                cropped.append(self.crop.apply_coords(polygon))  # cutting would change nothing
            else:
                cropped += self.crop.apply_polygons([polygon])
        return cropped


class _Window(NamedTuple):
    """What is computed along one axis of an image."""

    step: int  # -1: from its end, as that is nearer to what is kept
    num_read: int  # pixels read
    scale: float
    kept: slice  # of the pixels computed


def _window(size: int, new_size: int, start: int, length: int) -> _Window:
    """Return the shortest part of an axis, from one of its ends, that holds what is kept.

    Only from an end is a pixel of the part where it is in the whole image.

    Args:
        size: of the axis, in pixels.
        new_size: after resizing.
        start: of the crop, in resized pixels.
        length: of the crop, which may reach over the end.
    """
    length = min(length, new_size - start)
    from_end = new_size - start - length
    step, start = (1, start) if start <= from_end else (-1, from_end)
    # Rounding must not make the last pixel disappear.
    scale = math.nextafter(new_size / size, math.inf)
    reach = max(1.0, 1 / scale)  # source pixels from the center of one that is computed
    num_read = min(size, math.ceil((start + length) / scale + reach) + 1)
    if math.floor(num_read * scale) == num_read:
        num_read = size  # PyTorch leaves as it is what keeps its number of pixels
    return _Window(step, num_read, scale, slice(start, start + length))


def _resize(image: np.ndarray, scales: tuple[float, float]) -> np.ndarray:
    """Return an image (H, W, 3), contiguous, of another size; bilinear as Pillow does it."""
    # In this order, so that PyTorch sees "channels last" and need not rearrange the pixels.
    pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, scale_factor=scales, mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def _contiguous(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3), maybe mirrored, in one piece; NumPy takes 5 times as long."""
    steps = (-1 if image.strides[0] < 0 else 1, -1 if image.strides[1] < 0 else 1)
    upright = _flip(image[:: steps[0], :: steps[1]], steps)
    return np.require(upright, requirements=["C", "W"])  # writable, or PyTorch warns


def _flip(image: np.ndarray, steps: tuple[int, int]) -> np.ndarray:
    """Return ``image[::steps[0], ::steps[1]]``, copied if anything is mirrored."""
    code = {(-1, 1): 0, (1, -1): 1, (-1, -1): -1}.get(steps)
    return image if code is None else cv2.flip(image, code)
