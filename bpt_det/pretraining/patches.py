"""Patches: images as rows of patches, masks over them, and the order of tokens.

Shape legend: B batch, H W image size in pixels, S patch size, N = (H / S) * (W / S) patches, row by
row, K patches that are kept.
"""

from torch import Tensor


def to_patches(images: Tensor, patch_size: int) -> Tensor:
    """Return images (B, 3, H, W) as patches (B, N, S * S * 3), each pixel's channels together."""
    batch_size, num_channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch_size, num_channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch_size, rows * columns, -1)


def to_images(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the images (B, 3, H, W) of patches (B, N, S * S * 3) on a grid (rows, columns)."""
    rows, columns = grid
    patch_size = round((patches.shape[-1] / 3) ** 0.5)
    cut = patches.reshape(-1, rows, columns, patch_size, patch_size, 3)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(-1, 3, rows * patch_size, columns * patch_size)


def patch_statistics(patches: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each patch, both (B, N, 1).

    Args:
        patches: (B, N, S * S * 3).
        eps: added to the variance, in its unit; facebookresearch/mae models_mae.py has 1e-6.
    """
    mean = patches.mean(dim=-1, keepdim=True)
    variance = patches.var(dim=-1, keepdim=True)  # unbiased, as published
    return mean, (variance + eps).sqrt()


def draw_order(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return a permutation of patches and its inverse, both (B, N), from random scores (B, N).

    The first K of the permutation are kept, the others masked; the inverse puts tokens that are in
    the permuted order back into that of the image.
    """
    order = scores.argsort(dim=1)
    return order, order.argsort(dim=1)


def take(tokens: Tensor, indexes: Tensor) -> Tensor:
    """Return the tokens (B, K, D) at the indexes (B, K) of tokens (B, N, D)."""
    return tokens.gather(1, indexes.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def mask_of(restore: Tensor, num_kept: int) -> Tensor:
    """Return which patches are masked, (B, N) bool, by the inverse of the permutation."""
    return restore >= num_kept
