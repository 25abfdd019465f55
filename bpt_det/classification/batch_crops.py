"""Batch crops: crops of many images in one pass, on the device that holds them.

Shape legend: B batch, H W image size in pixels (the largest of the batch), S side of a crop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_ATTEMPTS = 10
_RATIOS = (3 / 4, 4 / 3)  # of width to height, as torchvision's
_CUBIC = -0.5  # Pillow's parameter of the bicubic kernel
_REACH = 2.0  # of the bicubic kernel, in pixels of the coarser grid


@dataclass(frozen=True)
class Windows:
    """Windows that crops show along one axis, in pixels of their images; arrays (B,).

    Args:
        start: where the first pixel of the crop begins.
        step: pixels of the image for a pixel of the crop.
        low, high: pixels outside [low, high) are not looked at.
    """

    start: np.ndarray
    step: np.ndarray
    low: np.ndarray
    high: np.ndarray


def draw_windows(
    sizes: np.ndarray, size: int, min_area: float, random: np.random.Generator
) -> tuple[Windows, Windows]:
    """Return rows and columns of random crops, distributed as torchvision's `RandomResizedCrop`.

    Args:
        sizes: (B, 2), height and width of each image.
        size: S.
        min_area: least share of the area of a crop.
        random: generator of the choices.
    """
    heights, widths = sizes[:, 0], sizes[:, 1]
    shape = (_ATTEMPTS, len(sizes))
    areas = random.uniform(min_area, 1.0, shape) * heights * widths
    ratios = np.exp(random.uniform(*np.log(_RATIOS), shape))
    tall, wide = np.rint(np.sqrt(areas / ratios)), np.rint(np.sqrt(areas * ratios))
    fits = (0 < tall) & (tall <= heights) & (0 < wide) & (wide <= widths)
    first = fits.argmax(axis=0)
    fallback = _largest_inside(heights, widths)
    chosen = [
        np.where(fits.any(axis=0), lengths[first, np.arange(len(sizes))], other)
        for lengths, other in zip((tall, wide), fallback, strict=True)
    ]
    windows = []
    for lengths, limits in zip(chosen, (heights, widths), strict=True):
        anywhere = np.floor(random.uniform(size=len(sizes)) * (limits - lengths + 1))
        start = np.where(fits.any(axis=0), anywhere, (limits - lengths) // 2)
        windows.append(Windows(start, lengths / size, start, start + lengths))
    return windows[0], windows[1]


def _largest_inside(heights: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest height and width whose ratio is allowed."""
    ratios = widths / heights
    tall = np.where(ratios < _RATIOS[0], np.rint(widths / _RATIOS[0]), heights)
    wide = np.where(ratios > _RATIOS[1], np.rint(heights * _RATIOS[1]), widths)
    return tall, wide


def central_windows(sizes: np.ndarray, size: int, resize_size: int) -> tuple[Windows, Windows]:
    """Return rows and columns of the centers of images whose shorter side becomes ``resize_size``.

    Args:
        sizes: (B, 2), height and width of each image.
        size: S.
        resize_size: pixels.
    """
    return _windows_of_resized(sizes, resize_size, lambda resized: np.rint((resized - size) / 2))


def draw_windows_of_resized(
    sizes: np.ndarray, size: int, resize_size: int, random: np.random.Generator
) -> tuple[Windows, Windows]:
    """Return rows and columns of random crops of images resized as for `central_windows`.

    Args:
        sizes: (B, 2), height and width of each image.
        size: S.
        resize_size: pixels.
        random: generator of the choices.
    """
    return _windows_of_resized(
        sizes, resize_size, lambda resized: random.integers(0, resized - size, endpoint=True)
    )


def _windows_of_resized(
    sizes: np.ndarray, resize_size: int, choose_start: Callable[[np.ndarray], np.ndarray]
) -> tuple[Windows, Windows]:
    """Return the windows that start at a pixel chosen by the resized length of each axis, (B,)."""
    shorter = sizes.min(axis=1)
    windows = []
    for lengths in sizes.T:
        resized = np.floor(resize_size * lengths / shorter)
        step = lengths / resized
        windows.append(Windows(choose_start(resized) * step, step, np.zeros(len(sizes)), lengths))
    return windows[0], windows[1]


def resample(
    images: Tensor,
    rows: Windows,
    columns: Windows,
    size: int,
    is_flipped: np.ndarray,
    interpolation: str = "bicubic",
) -> Tensor:
    """Return crops (B, 3, S, S), uint8, as Pillow's antialiased `resize` makes them.

    Within a gray level of it, as Pillow computes in fixed point; a few levels at hard edges where
    Pillow shrinks the height first, as Pillow 13 does if it shrinks more than the width.

    Args:
        images: (B, 3, H, W), uint8.
        rows, columns: what the crops show.
        size: S.
        is_flipped: (B,), which crops are mirrored.
        interpolation: a key of `INTERPOLATIONS`.
    """
    kernel = INTERPOLATIONS[interpolation]
    across = _weights(columns, size, images.shape[3], images.device, kernel)
    mirrored = torch.from_numpy(is_flipped).to(images.device)[:, None, None]
    across = torch.where(mirrored, across.flip(1), across)
    down = _weights(rows, size, images.shape[2], images.device, kernel)
    narrow = _to_levels(images.float() @ across.transpose(1, 2)[:, None])
    return _to_levels(down[:, None] @ narrow).to(torch.uint8)


def _weights(
    windows: Windows,
    size: int,
    length: int,
    device: torch.device,
    kernel: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the share of each of ``length`` pixels in each pixel of a crop, (B, S, length)."""
    values = (windows.start, windows.step, windows.low, windows.high)
    start, step, low, high = (
        torch.from_numpy(np.asarray(v, dtype=np.float64)).to(device)[:, None, None] for v in values
    )
    pixels = torch.arange(length, device=device, dtype=torch.float64)
    centers = start + (torch.arange(size, device=device)[:, None] + 0.5) * step
    distances = ((pixels + 0.5 - centers) / step.clamp(min=1)).abs().float()
    weights = kernel(distances) * ((pixels >= low) & (pixels < high))
    return weights / weights.sum(dim=2, keepdim=True)


def _cubic_kernel(distances: Tensor) -> Tensor:
    """Return the values of the cubic convolution kernel; distances are not negative."""
    near = ((_CUBIC + 2) * distances - (_CUBIC + 3)) * distances**2 + 1
    far = ((distances - 5) * distances + 8) * distances - 4
    weights = torch.where(distances < 1, near, _CUBIC * far)
    return weights * (distances < _REACH)


def _linear_kernel(distances: Tensor) -> Tensor:
    return (1 - distances).clamp(min=0)


INTERPOLATIONS = {"bicubic": _cubic_kernel, "bilinear": _linear_kernel}


def _to_levels(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)


def stack_padded(images: Sequence[Tensor]) -> Tensor:
    """Return images (3, H, W) of any sizes as one tensor, filled up with 0 at the right and below.

    Args:
        images: all of one dtype and device.
    """
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    if all(image.shape[1:] == (height, width) for image in images):
        return torch.stack(list(images))
    padded = images[0].new_zeros(len(images), 3, height, width)
    for target, image in zip(padded, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    return padded
