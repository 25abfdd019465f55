"""Image embedding: from pictures to the tokens that enter the first block of a ViT.

Shape legend: B batch, H W image size in pixels, N patches, D embed_dim.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from bpt_det.utils.errors import InputError

from .network import adapt


def center_square(
    image: np.ndarray,
    size: int,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    input_format: str = "RGB",
) -> Tensor:
    """Return the normalized center of an image, (3, size, size), float32.

    The shorter side is resized to ``size`` (bicubic, antialiased), then the center is cut out.

    Args:
        image: (H, W, 3), RGB, uint8.
        size: side of the square in pixels.
        pixel_mean, pixel_std: of each channel that the ViT takes, in [0, 255].
        input_format: order in which the ViT takes the channels, ``RGB`` or ``BGR``.
    """
    pixels = torch.tensor(image).permute(2, 0, 1)  # a copy: the array may be read-only
    if input_format == "BGR":
        pixels = pixels.flip(0)
    bicubic = InterpolationMode.BICUBIC
    pixels = transforms.resize(pixels, [size], interpolation=bicubic, antialias=True)
    pixels = transforms.center_crop(pixels, [size, size])
    return transforms.normalize(pixels.float(), list(pixel_mean), list(pixel_std))


def grid_size(patch_size: int, height: int, width: int) -> tuple[int, int]:
    """Return the patch grid (H / patch_size, W / patch_size) of an image size in pixels.

    Raises:
        InputError: a side is not a multiple of the patch size, or is 0.
    """
    if height % patch_size or width % patch_size or not (height and width):
        raise InputError(
            f"image size {height}x{width} is not a multiple of patch_size={patch_size}; "
            "pad the image first."
        )
    return height // patch_size, width // patch_size


def embed_images(vit: nn.Module, images: Tensor) -> Tensor:
    """Return prefix and patch tokens (B, num_prefix_tokens + N, D) of images (B, 3, H, W).

    Patch embedding, class token and position, exactly as timm's `forward_features`; on a GPU the
    patch embedding is computed as a matrix product, which rounds differently.

    Raises:
        InputError: H or W is not a multiple of the patch size.
    """
    network = adapt(vit)
    grid_size(network.patch_size, *images.shape[-2:])
    return network.embed(images)


def block_inputs(vit: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """Yield the tokens that enter each block without prompts, then those after the last block.

    Args:
        vit: without prompts.
        images: normalized, (B, 3, H, W).

    Raises:
        InputError: H or W is not a multiple of the patch size.
    """
    network = adapt(vit)
    positions = network.positions(grid_size(network.patch_size, *images.shape[-2:]))
    tokens = embed_images(vit, images)
    for index in range(len(network.blocks)):
        yield tokens
        tokens = network.run_block(index, tokens, positions, 0)
    yield tokens
