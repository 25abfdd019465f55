"""Weight resampling to another patch size and another grid of positions, by timm."""

import math

from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor

_POSITIONS = "pos_embed"
_PATCHES = "patch_embed.proj.weight"


def fit_patch_embedding(
    state: dict[str, Tensor], expected: dict[str, Tensor], pretrained_patch_size: int | None
) -> str:
    """Resample the patch embedding if it is of ``pretrained_patch_size``; return a report or ''.

    ViTDet-H does this from 14 to 16 pixels: a patch that is enlarged is embedded as before.
    """
    stored, side = _side_of_patches(state), _side_of_patches(expected)
    if not stored or stored == side or stored != pretrained_patch_size:
        return ""  # left as it is; loading reports a difference
    state[_PATCHES] = resample_patch_embed(state[_PATCHES], [side, side])
    return report_patches(stored, side)


def report_patches(old: int, new: int) -> str:
    """Return the report of patches resampled from one side in pixels to another; '' if equal."""
    return "" if old == new else f"{_PATCHES} {old}x{old} -> {new}x{new} pixels"


def patch_size_advice(state: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Return advice on patches of another size, for the end of an error, or ''."""
    stored, side = _side_of_patches(state), _side_of_patches(expected)
    if not stored or stored == side or state[_PATCHES].shape[:2] != expected[_PATCHES].shape[:2]:
        return ""
    return f", or resample its patches: patch_size={side} pretrained_patch_size={stored}"


def fit_positions(
    state: dict[str, Tensor],
    expected: dict[str, Tensor],
    num_prefix_tokens: int,
    pretrained_patch_size: int | None,
) -> str:
    """Resample the positions to the ViT's grid where it differs; return a report or ''."""
    stored = state.get(_POSITIONS)
    if stored is None or stored.ndim != 3 or stored.shape[1] == expected[_POSITIONS].shape[1]:
        return ""
    old, new = (_grid_side(p, num_prefix_tokens) for p in (stored, expected[_POSITIONS]))
    if not old or stored.shape[2] != expected[_POSITIONS].shape[2]:
        return ""  # left as it is; loading reports a difference
    patch_size = pretrained_patch_size or _side_of_patches(expected)
    state[_POSITIONS] = resample_abs_pos_embed(
        stored, new_size=(new, new), num_prefix_tokens=num_prefix_tokens
    )
    return (
        f"pos_embed {old}x{old} -> {new}x{new} (pretrain_size={old * patch_size} would keep it, "
        "and resample only once, to the image)"
    )


def _side_of_patches(state: dict[str, Tensor]) -> int:
    """Return the side of square patches in pixels, 0 if there are none."""
    weight = state.get(_PATCHES)
    if weight is None or weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        return 0
    return weight.shape[3]


def _grid_side(pos_embed: Tensor, num_prefix_tokens: int) -> int:
    """Return the side of a square grid of position embeddings, 0 if it is not square."""
    num_patches = max(0, pos_embed.shape[1] - num_prefix_tokens)
    side = math.isqrt(num_patches)
    return side if side * side == num_patches else 0
