"""Bringing an image to the square input a ViT was pre-trained on."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F


def center_square(
    image: np.ndarray, size: int, pixel_mean: Sequence[float], pixel_std: Sequence[float]
) -> Tensor:
    """Return the normalized center of an image, (3, size, size), float32.

    The shorter side is resized to ``size`` (bicubic, antialiased), then the center is cut out.

    Args:
        image: (H, W, 3), uint8, in the order of channels the ViT takes.
        size: pixels.
        pixel_mean, pixel_std: of each channel, in [0, 255].
    """
    pixels = torch.tensor(image).permute(2, 0, 1)  # a copy: the array may be read-only
    pixels = F.resize(pixels, [size], interpolation=InterpolationMode.BICUBIC, antialias=True)
    pixels = F.center_crop(pixels, [size, size])
    return F.normalize(pixels.float(), list(pixel_mean), list(pixel_std))
