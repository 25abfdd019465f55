"""Image embedding: from pictures to the tokens that enter the first block of a ViT.

Shape legend: B batch, H W image size in pixels, N patches, D embed_dim, h w patch grid, p
patch_size.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import Format, PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from bpt_det.utils.errors import InputError


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


def grid_size(vit: VisionTransformer, height: int, width: int) -> tuple[int, int]:
    """Return the patch grid (H / patch_size, W / patch_size) of an image size in pixels.

    Raises:
        InputError: a side is not a multiple of the patch size.
    """
    check_image_size(vit, height, width)
    patch_size = vit.patch_embed.patch_size[0]
    return height // patch_size, width // patch_size


def check_image_size(vit: VisionTransformer, height: int, width: int) -> None:
    """Check that patches divide an image size in pixels.

    Raises:
        InputError: a side is not a multiple of the patch size.
    """
    patch_size = vit.patch_embed.patch_size[0]
    if height % patch_size or width % patch_size:
        raise InputError(
            f"image size {height}x{width} is not a multiple of patch_size={patch_size}; "
            "pad the image first."
        )


def embed_images(vit: VisionTransformer, images: Tensor) -> Tensor:
    """Return prefix and patch tokens (B, num_prefix_tokens + N, D) of images (B, 3, H, W).

    Patch embedding, class token and position, exactly as timm's `forward_features`; on a GPU the
    patch embedding is computed as a matrix product, which rounds differently.

    Raises:
        InputError: H or W is not a multiple of the patch size.
    """
    check_image_size(vit, images.shape[-2], images.shape[-1])
    by_product = images.is_cuda and is_product(vit.patch_embed)
    patches = embed_by_product(vit.patch_embed, images) if by_product else vit.patch_embed(images)
    return vit.norm_pre(vit.patch_drop(vit._pos_embed(patches)))


def is_product(patch_embed: nn.Module) -> bool:
    """Return whether `embed_by_product` computes this patch embedding: timm's, for any size."""
    return type(patch_embed) is PatchEmbed and patch_embed.output_fmt == Format.NHWC


def embed_by_product(patch_embed: PatchEmbed, images: Tensor) -> Tensor:
    """Return patches (B, h, w, D) of images (B, 3, h * p, w * p), by one matrix product.

    It is the convolution that timm's `PatchEmbed` is, for which cuDNN has slow kernels at these
    sizes: docs/performance/raw/2026-11-26_machine_h.md.
    """
    height, width = patch_embed.patch_size
    cells = images.unflatten(3, (-1, width)).unflatten(2, (-1, height))  # (B, 3, h, p, w, p)
    rows = cells.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, h, w, 3 * p * p)
    weight, bias = patch_embed.proj.weight, patch_embed.proj.bias
    return patch_embed.norm(F.linear(rows, weight.flatten(1), bias))
