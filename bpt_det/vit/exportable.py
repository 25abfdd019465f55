"""Exportable ViT: positions and prompts in a form that ONNX and `torch.export` can hold.

On every forward pass timm resamples positions with an operator that ONNX lacks
(`_upsample_bicubic2d_aa`). Here they are a constant of one image size, or two matrix products that
take any size.

Shape legend: N patches, D embed_dim, P prompt_length.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from bpt_det.prompts import FreePrompt

from .prompted_vit import PromptedViT

_CUBIC = -0.5  # of PyTorch's antialiased cubic kernel
_RESAMPLE = "resample_abs_pos_embed"  # timm's name


def resample_matrix(old_size: int, new_size: int) -> Tensor:
    """Return what resamples along one axis, (new_size, old_size): cubic and antialiased.

    The formula of `torch.nn.functional.interpolate` with ``mode="bicubic"`` and ``antialias=True``.

    Args:
        old_size: entries there are.
        new_size: entries to make; may be a symbol of `torch.export`.
    """
    scale = old_size / new_size
    support = torch.sym_max(scale, 1.0)
    centers = (torch.arange(new_size) + 0.5) * scale
    distances = ((torch.arange(old_size) + 0.5 - centers[:, None]) / support).abs()
    a = _CUBIC
    near = (a + 2) * distances**3 - (a + 3) * distances**2 + 1
    far = a * distances**3 - 5 * a * distances**2 + 8 * a * distances - 4 * a
    weights = torch.where(distances < 1, near, torch.where(distances < 2, far, 0.0))
    return weights / weights.sum(dim=1, keepdim=True)


def resample_positions(
    positions: Tensor,
    new_size: Sequence[int],
    old_size: Sequence[int],
    num_prefix_tokens: int = 1,
    **options: Any,
) -> Tensor:
    """Return positions (1, prefix + N, D) of another grid, as timm's `resample_abs_pos_embed`."""
    prefix, grid = positions[:, :num_prefix_tokens], positions[0, num_prefix_tokens:]
    rows, columns = map(resample_matrix, old_size, new_size)
    grid = torch.tensordot(rows.to(grid), grid.unflatten(0, tuple(old_size)), 1)  # (rows, old, D)
    grid = torch.matmul(columns.to(grid), grid)  # (rows, columns, D)
    return torch.cat([prefix, grid.flatten(0, 1)[None]], dim=1)


@contextlib.contextmanager
def exportable(network: PromptedViT, image_size: tuple[int, int] | None = None) -> Iterator[None]:
    """Make a prompted ViT exportable while the block runs.

    Prompts that ignore the image become their values; others stay as they are.

    Args:
        network: in evaluation mode; left as it was.
        image_size: (H, W) in pixels, multiples of the patch size; None: of any size.
    """
    vit: Any = network.vit
    resample: Callable = resample_positions
    if image_size is not None and getattr(vit, "pos_embed", None) is not None:
        constant = resample_abs_pos_embed(
            vit.pos_embed.detach(),
            list(network.grid_size(*image_size)),
            list(vit.patch_embed.grid_size),
            num_prefix_tokens=0 if vit.no_embed_class else vit.num_prefix_tokens,
        )
        resample = lambda *_, **__: constant  # noqa: E731
    method = getattr(type(vit), "_pos_embed", None)  # another network embeds in its own way
    names = {} if method is None else method.__globals__
    prompts = dict(network.prompts.items())
    with mock.patch.dict(names, {_RESAMPLE: resample}):
        try:
            for index, prompt in prompts.items():
                if prompt.ignores_image:
                    network.prompts[index] = _constant(prompt)
            yield
        finally:
            network.prompts.update(prompts)


@torch.no_grad()
def _constant(prompt: Any) -> FreePrompt:
    """Return a prompt as its values (P, D)."""
    values = prompt(1)[0]
    free = FreePrompt(prompt.prompt_length, prompt.embed_dim, patch_size=1)
    free.tokens = torch.nn.Parameter(values.detach().clone(), requires_grad=False)
    return free.eval()
