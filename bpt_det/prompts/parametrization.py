"""Parametrisations of prompt tokens. Shape legend: B batch, P prompt_length, R rank, D embed_dim.

A prompt module has `prompt_length` and `embed_dim`, draws its initial values in
`reset_parameters`, and returns tokens (B, P, D) from `forward(batch_size)`. All of its parameters
that require a gradient are trained; nothing else decides that.
"""

import math

import torch
from torch import Tensor, nn

from bpt_det.errors import InputError


class FreePrompt(nn.Module):
    """P free tokens of width D: Visual Prompt Tuning (VPT).

    Source: Jia et al., ECCV 2022 (arXiv:2203.12119); initialised uniformly within
    ±sqrt(6 / (3 · patch_size² + D)), the Xavier bound of the patch embedding.

    Args:
        prompt_length: P, number of tokens, at least 1.
        embed_dim: D, token width of the frozen ViT.
        patch_size: side of the ViT's patches in pixels; sets the scale of the initial values.

    Raises:
        InputError: a size is below 1.
    """

    def __init__(self, prompt_length: int, embed_dim: int, patch_size: int) -> None:
        super().__init__()
        _check_prompt_length(prompt_length)
        if patch_size < 1:
            raise InputError(f"patch_size must be at least 1, got {patch_size}.")
        self.prompt_length = prompt_length
        self.embed_dim = embed_dim
        self.patch_size = patch_size
        self.tokens = nn.Parameter(torch.empty(prompt_length, embed_dim))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new initial tokens."""
        bound = math.sqrt(6 / (3 * self.patch_size**2 + self.embed_dim))
        nn.init.uniform_(self.tokens, -bound, bound, generator=generator)

    def forward(self, batch_size: int) -> Tensor:
        """Return the tokens, (B, P, D); rows share memory, so never write into them."""
        return self.tokens.expand(batch_size, -1, -1)


class BilinearPrompt(nn.Module):
    """P tokens of width D, learned as ``coeff @ basis`` and so of rank at most R.

    Source: the low-rank bilinear prompt of arXiv:2506.22908. ``coeff`` is `random_vectors` and
    ``basis`` the transposed `conv1x1` of WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_shallow.py:19-22.
    ``coeff`` starts at N(0, 0.02²), ``basis`` Xavier-uniform.

    Args:
        prompt_length: P, number of tokens, at least 1; squares are not special.
        rank: R, between 1 and ``embed_dim``.
        embed_dim: D, token width of the frozen ViT.

    Raises:
        InputError: ``prompt_length`` or ``rank`` is out of range.
    """

    def __init__(self, prompt_length: int, rank: int, embed_dim: int) -> None:
        super().__init__()
        _check_prompt_length(prompt_length)
        if not 1 <= rank <= embed_dim:
            raise InputError(f"rank must be in [1, embed_dim={embed_dim}], got {rank}.")
        self.prompt_length = prompt_length
        self.embed_dim = embed_dim
        self.coeff = nn.Parameter(torch.empty(prompt_length, rank))
        self.basis = nn.Parameter(torch.empty(rank, embed_dim))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new initial factors."""
        nn.init.normal_(self.coeff, std=0.02, generator=generator)
        nn.init.xavier_uniform_(self.basis, generator=generator)

    def forward(self, batch_size: int) -> Tensor:
        """Return the tokens, (B, P, D); rows share memory, so never write into them."""
        return (self.coeff @ self.basis).expand(batch_size, -1, -1)


def _check_prompt_length(prompt_length: int) -> None:
    if prompt_length < 1:
        raise InputError(
            f"prompt_length must be at least 1, got {prompt_length}; "
            "for a frozen ViT without prompts set prompt=None."
        )
