"""Parametrizations of prompt tokens. Shape legend: B batch, P prompt_length, R rank, D embed_dim.

A prompt module has `prompt_length` and `embed_dim`, and returns tokens (B, P, D) from
`forward(batch_size)`. All of its parameters that require a gradient are trained; nothing else
decides that. `needed_statistics` names the field of `BlockStatistics` its initial values are made
of, or is None; `reset_parameters` draws them. Without the statistics they are NaN until a
checkpoint sets them, so that using them unset cannot pass unnoticed.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bpt_det.utils.errors import InputError

from .initialization import COEFF_STD, TOKEN_INITIALIZATIONS, tokens_to_prompts, uniform_bound
from .statistics import BlockStatistics
from .whitening import Whitening


class FreePrompt(nn.Module):
    """P free tokens of width D: Visual Prompt Tuning (VPT), and with other initial values SPT.

    Source: Jia et al., ECCV 2022 (arXiv:2203.12119), initialized uniformly within
    ±sqrt(6 / (3 · patch_size² + D)), the Xavier bound of the patch embedding; Wang et al., ICML
    2024 for the initial values from tokens.

    Args:
        prompt_length: P, number of tokens, at least 1.
        embed_dim: D, token width of the frozen ViT.
        patch_size: side of the ViT's patches in pixels; sets the scale of uniform values.
        init: ``uniform``, or made of patch tokens of training images: ``random_sample``,
            ``kmeans``, ``mean_pool``, ``max_pool``.

    Raises:
        InputError: a size is below 1, or ``init`` is unknown.
    """

    def __init__(
        self, prompt_length: int, embed_dim: int, patch_size: int, init: str = "uniform"
    ) -> None:
        super().__init__()
        _check_prompt_length(prompt_length)
        if not _is_count(patch_size):
            raise InputError(f"patch_size must be at least 1, got {patch_size}.")
        _check_choice("init", init, ("uniform", *TOKEN_INITIALIZATIONS))
        self.prompt_length = prompt_length
        self.embed_dim = embed_dim
        self.patch_size = patch_size
        self.init = init
        self.tokens = nn.Parameter(torch.empty(prompt_length, embed_dim))
        self.reset_parameters()

    @property
    def needed_statistics(self) -> str | None:
        """Which field of `BlockStatistics` the initial values are made of."""
        return None if self.init == "uniform" else "tokens"

    def reset_parameters(
        self,
        generator: torch.Generator | None = None,
        statistics: BlockStatistics | None = None,
    ) -> None:
        """Draw new initial tokens; those made of data need statistics and a generator."""
        if self.init == "uniform":
            bound = uniform_bound(self.patch_size, self.embed_dim)
            _fill(self.tokens, nn.init.uniform_, generator, a=-bound, b=bound)
        elif statistics is None:
            _unset(self.tokens)
        else:
            tokens = tokens_to_prompts(self.init, statistics.tokens, self.prompt_length, generator)
            _copy(self.tokens, tokens)

    def freeze_basis(self) -> None:
        """Refuse: free tokens have no basis.

        Raises:
            InputError: always.
        """
        raise InputError(
            "placement 'released' fixes the basis of prompts, but a FreePrompt has none; use a "
            "BilinearPrompt or WhitenedPrompt, or placement 'all'."
        )

    def forward(self, batch_size: int) -> Tensor:
        """Return the tokens, (B, P, D); rows share memory, so never write into them."""
        return self.tokens.expand(batch_size, -1, -1)


class WhitenedPrompt(nn.Module):
    """P tokens of width D, learned as ``coeff @ basis`` with ``basis = Wᵀ``, W a whitening matrix.

    Source: BPT-fWhiten and BPT-tWhiten of arXiv:2506.22908. ``coeff`` starts at N(0, 0.02²),
    ``basis`` at the whitening matrix of the block's statistics.

    Args:
        prompt_length: P, number of tokens, at least 1.
        embed_dim: D, token width of the frozen ViT.
        train_basis: True trains W too (tWhiten), False keeps it (fWhiten).
        whitening: how W is made; None: as `Whitening` does by default.

    Raises:
        InputError: ``prompt_length`` is out of range.
    """

    needed_statistics = "second_moment"

    def __init__(
        self,
        prompt_length: int,
        embed_dim: int,
        *,
        train_basis: bool,
        whitening: Whitening | None = None,
    ) -> None:
        super().__init__()
        _check_prompt_length(prompt_length)
        self.prompt_length = prompt_length
        self.embed_dim = embed_dim
        self.whitening = whitening or Whitening()
        self.coeff = nn.Parameter(torch.empty(prompt_length, embed_dim))
        self.basis = nn.Parameter(torch.empty(embed_dim, embed_dim), requires_grad=train_basis)
        self.reset_parameters()

    def reset_parameters(
        self,
        generator: torch.Generator | None = None,
        statistics: BlockStatistics | None = None,
    ) -> None:
        """Draw new initial coefficients, and whiten the statistics."""
        _fill(self.coeff, nn.init.normal_, generator, std=COEFF_STD)
        if statistics is None:
            _unset(self.basis)
        else:
            _copy(self.basis, self.whitening.matrix(statistics).T)

    def freeze_basis(self) -> None:
        """Keep the initial basis."""
        self.basis.requires_grad_(False)

    def forward(self, batch_size: int) -> Tensor:
        """Return the tokens, (B, P, D); rows share memory, so never write into them."""
        return (self.coeff @ self.basis).expand(batch_size, -1, -1)


class BilinearPrompt(nn.Module):
    """P tokens of width D, learned as ``coeff @ basis`` and so of rank at most R.

    Source: the low-rank bilinear prompt of arXiv:2506.22908. ``coeff`` is `random_vectors` and
    ``basis`` the transposed `conv1x1` of WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_shallow.py:19-22.
    ``coeff`` starts at N(0, 0.02²), ``basis`` Xavier-uniform or at columns of a whitening matrix.

    Args:
        prompt_length: P, number of tokens, at least 1; squares are not special.
        rank: R, between 1 and ``embed_dim``.
        embed_dim: D, token width of the frozen ViT.
        basis_init: ``xavier``, or ``whitening``: R whole columns of W, drawn without replacement.
            They span no more dimensions than W, which drops those below its floor.
        whitening: how W is made; None: as `Whitening` does by default.

    Raises:
        InputError: ``prompt_length`` or ``rank`` is out of range, or ``basis_init`` unknown.
    """

    def __init__(
        self,
        prompt_length: int,
        rank: int,
        embed_dim: int,
        *,
        basis_init: str = "xavier",
        whitening: Whitening | None = None,
    ) -> None:
        super().__init__()
        _check_prompt_length(prompt_length)
        if not (isinstance(rank, int) and 1 <= rank <= embed_dim):
            raise InputError(f"rank must be in [1, embed_dim={embed_dim}], got {rank}.")
        _check_choice("basis_init", basis_init, ("xavier", "whitening"))
        self.prompt_length = prompt_length
        self.embed_dim = embed_dim
        self.basis_init = basis_init
        self.whitening = whitening or Whitening()
        self.coeff = nn.Parameter(torch.empty(prompt_length, rank))
        self.basis = nn.Parameter(torch.empty(rank, embed_dim))
        self.reset_parameters()

    @property
    def needed_statistics(self) -> str | None:
        """Which field of `BlockStatistics` the initial values are made of."""
        return "second_moment" if self.basis_init == "whitening" else None

    def reset_parameters(
        self,
        generator: torch.Generator | None = None,
        statistics: BlockStatistics | None = None,
    ) -> None:
        """Draw new initial factors; a whitening basis needs statistics and a generator."""
        _fill(self.coeff, nn.init.normal_, generator, std=COEFF_STD)
        if self.basis_init == "xavier":
            _fill(self.basis, nn.init.xavier_uniform_, generator)
        elif statistics is None:
            _unset(self.basis)
        else:
            columns = self.whitening.matrix(statistics).T  # one a row
            drawn = torch.randperm(self.embed_dim, generator=generator)[: len(self.basis)]
            _copy(self.basis, columns[drawn])

    def freeze_basis(self) -> None:
        """Keep the initial basis."""
        self.basis.requires_grad_(False)

    def forward(self, batch_size: int) -> Tensor:
        """Return the tokens, (B, P, D); rows share memory, so never write into them."""
        return (self.coeff @ self.basis).expand(batch_size, -1, -1)


@torch.no_grad()
def _copy(parameter: nn.Parameter, values: Tensor) -> None:
    parameter.copy_(values)


def _fill(
    parameter: nn.Parameter,
    draw: Callable[..., Tensor],
    generator: torch.Generator | None,
    **settings: float,
) -> None:
    """Draw on the CPU, so that the same seed gives the same values on every device."""
    device = "meta" if parameter.is_meta else "cpu"
    _copy(
        parameter,
        draw(torch.empty(parameter.shape, device=device), generator=generator, **settings),
    )


def _unset(parameter: nn.Parameter) -> None:
    _copy(parameter, torch.tensor(math.nan))


def _is_count(value: object) -> bool:
    """Say whether a setting, which a command line may have set to anything, is 1, 2, 3 …"""
    return isinstance(value, int) and value >= 1


def _check_prompt_length(prompt_length: int) -> None:
    if not _is_count(prompt_length):
        raise InputError(
            f"prompt_length must be at least 1, got {prompt_length}; "
            "for a frozen ViT without prompts set prompt=None."
        )


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, got '{value}'.")
