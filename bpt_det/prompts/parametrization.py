"""Parametrizations of prompt tokens.

Shape legend: B batch, P prompt_length, R rank, D embed_dim.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bpt_det.utils.errors import InputError, check_choice, check_count

from .initialization import (
    COEFF_STD,
    TOKEN_INITIALIZATIONS,
    BlockStatistics,
    tokens_to_prompts,
    uniform_bound,
)
from .whitening import Whitening


class Prompt(nn.Module):
    """Prompt tokens of one block; base class of all parametrizations.

    All parameters that require a gradient are trained; nothing else decides that. Initial values
    that are made of statistics are NaN until `reset_parameters` gets them or a checkpoint sets
    them, so that using them unset cannot pass unnoticed.

    Attributes:
        needed_statistics: field of `BlockStatistics` that the initial values are made of, or None.
        ignores_image: whether the tokens are the same for all images. What merges, stores or shows
            prompts by themselves needs it; False for those that depend on the block's tokens.

    Args:
        prompt_length: P, number of tokens, an integer >= 1.
        embed_dim: D, token width of the frozen ViT.

    Raises:
        InputError: ``prompt_length`` is out of range.
    """

    ignores_image = True

    def __init__(self, prompt_length: int, embed_dim: int) -> None:
        super().__init__()
        no_prompts = "prompt=None for a frozen ViT without prompts"
        check_count("prompt_length", prompt_length, 1, "prompt_length", alternative=no_prompts)
        self.prompt_length = prompt_length
        self.embed_dim = embed_dim
        self.needed_statistics: str | None = None

    def reset_parameters(
        self,
        generator: torch.Generator | None = None,
        statistics: BlockStatistics | None = None,
    ) -> None:
        """Draw new initial values; those made of data need statistics and a generator."""
        raise NotImplementedError

    def forward(self, batch_size: int, tokens: Tensor | None = None) -> Tensor:
        """Return the prompts, (B, P, D); rows may share memory, so never write into them.

        Args:
            batch_size: B.
            tokens: (B, T + N, D) that enter the block, prefix and patches, without earlier prompts;
                prompts that ignore the image do without.
        """
        raise NotImplementedError


class FreePrompt(Prompt):
    """P free tokens of width D: Visual Prompt Tuning (VPT), and with other initial values SPT.

    Source: Jia et al., ECCV 2022 (arXiv:2203.12119), initialized uniformly within
    ±sqrt(6 / (3 · patch_size² + D)), the Xavier bound of the patch embedding; Wang et al., ICML
    2024 for the initial values from tokens.

    Args:
        prompt_length: P, number of tokens, an integer >= 1.
        embed_dim: D, token width of the frozen ViT.
        patch_size: side of the ViT's patches in pixels; sets the scale of uniform values.
        init: ``uniform``, or made of patch tokens of training images: ``random_sample``,
            ``kmeans``, ``mean_pool``, ``max_pool``.
        init_positions: whether prompts of block 0 start from patches with their positions. The
            authors' do not: WangYZ1608/Self-Prompt-Tuning@ce0754f takes the patch embeddings.

    Raises:
        InputError: a size is below 1, or ``init`` is unknown.
    """

    def __init__(
        self,
        prompt_length: int,
        embed_dim: int,
        patch_size: int,
        init: str = "uniform",
        *,
        init_positions: bool = False,
    ) -> None:
        super().__init__(prompt_length, embed_dim)
        check_count("patch_size", patch_size, parameter="patch_size")
        check_choice("init", init, ("uniform", *TOKEN_INITIALIZATIONS))
        self.patch_size = patch_size
        self.init = init
        self.init_positions = init_positions
        self.needed_statistics = None if init == "uniform" else "tokens"
        self.tokens = nn.Parameter(torch.empty(prompt_length, embed_dim))
        self.reset_parameters()

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
            tokens = None if self.init_positions else statistics.patch_embeddings
            tokens = statistics.tokens if tokens is None else tokens
            assert tokens is not None and generator is not None
            _copy(self.tokens, tokens_to_prompts(self.init, tokens, self.prompt_length, generator))

    def forward(self, batch_size: int, tokens: Tensor | None = None) -> Tensor:
        """Return the tokens, (B, P, D); rows share memory, so never write into them."""
        return self.tokens.expand(batch_size, -1, -1)


class FactoredPrompt(Prompt):
    """P tokens of width D, learned as ``coeff @ basis``; ``coeff`` starts at N(0, 0.02²).

    Args:
        prompt_length: P, number of tokens, an integer >= 1.
        rank: R, number of basis vectors.
        embed_dim: D, token width of the frozen ViT.
        whitening: how a whitening matrix is made; None: as `Whitening` does by default.
    """

    def __init__(
        self, prompt_length: int, rank: int, embed_dim: int, whitening: Whitening | None = None
    ) -> None:
        super().__init__(prompt_length, embed_dim)
        self.whitening = whitening or Whitening()
        self.coeff = nn.Parameter(torch.empty(prompt_length, rank))
        self.basis = nn.Parameter(torch.empty(rank, embed_dim))

    def reset_parameters(
        self,
        generator: torch.Generator | None = None,
        statistics: BlockStatistics | None = None,
    ) -> None:
        """Draw new initial coefficients, then the basis."""
        _fill(self.coeff, nn.init.normal_, generator, std=COEFF_STD)
        self.reset_basis(generator, statistics)

    def reset_basis(
        self, generator: torch.Generator | None, statistics: BlockStatistics | None
    ) -> None:
        """Set the initial basis."""
        raise NotImplementedError

    def freeze_basis(self) -> None:
        """Keep the initial basis."""
        self.basis.requires_grad_(False)

    def forward(self, batch_size: int, tokens: Tensor | None = None) -> Tensor:
        """Return the tokens, (B, P, D); rows share memory, so never write into them."""
        return (self.coeff @ self.basis).expand(batch_size, -1, -1)


class WhitenedPrompt(FactoredPrompt):
    """P tokens of width D, learned as ``coeff @ basis`` with ``basis = Wᵀ``, W a whitening matrix.

    Source: BPT-fWhiten and BPT-tWhiten of arXiv:2506.22908. ``coeff`` starts at N(0, 0.02²),
    ``basis`` at the whitening matrix of the block's statistics.

    Args:
        prompt_length: P, number of tokens, an integer >= 1.
        embed_dim: D, token width of the frozen ViT.
        train_basis: True trains W too (tWhiten), False keeps it (fWhiten).
        whitening: how W is made; None: as `Whitening` does by default.

    Raises:
        InputError: ``prompt_length`` is out of range.
    """

    def __init__(
        self,
        prompt_length: int,
        embed_dim: int,
        *,
        train_basis: bool,
        whitening: Whitening | None = None,
    ) -> None:
        super().__init__(prompt_length, embed_dim, embed_dim, whitening)
        self.needed_statistics = self.whitening.needed_statistics
        self.basis.requires_grad_(train_basis)
        self.reset_parameters()

    def reset_basis(
        self, generator: torch.Generator | None, statistics: BlockStatistics | None
    ) -> None:
        """Whiten the statistics."""
        if statistics is None:
            _unset(self.basis)
        else:
            _copy(self.basis, self.whitening.matrix(statistics).T)


class BilinearPrompt(FactoredPrompt):
    """P tokens of width D, learned as ``coeff @ basis`` and so of rank at most R.

    Source: the low-rank bilinear prompt of arXiv:2506.22908. ``coeff`` is `random_vectors` and
    ``basis`` the transposed `conv1x1` of WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_shallow.py:19-22.
    ``coeff`` starts at N(0, 0.02²), ``basis`` Xavier-uniform or at columns of a whitening matrix.

    Args:
        prompt_length: P, number of tokens, an integer >= 1; squares are not special.
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
        _check_rank(rank, embed_dim)
        check_choice("basis_init", basis_init, ("xavier", "whitening"))
        super().__init__(prompt_length, rank, embed_dim, whitening)
        self.basis_init = basis_init
        if basis_init == "whitening":
            self.needed_statistics = self.whitening.needed_statistics
        self.reset_parameters()

    def reset_basis(
        self, generator: torch.Generator | None, statistics: BlockStatistics | None
    ) -> None:
        """Draw the basis; one of a whitening matrix needs statistics and a generator."""
        if self.basis_init == "xavier":
            _fill(self.basis, nn.init.xavier_uniform_, generator)
        elif statistics is None:
            _unset(self.basis)
        else:
            _copy(self.basis, self.whitening.columns(statistics, len(self.basis), generator).T)


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
    values = torch.empty(parameter.shape, device=device)
    _copy(parameter, draw(values, generator=generator, **settings))


def _unset(parameter: nn.Parameter) -> None:
    _copy(parameter, torch.tensor(math.nan))


def _check_rank(rank: int, embed_dim: int) -> None:
    if not (isinstance(rank, int) and 1 <= rank <= embed_dim):
        raise InputError(
            f"rank must be in [1, embed_dim={embed_dim}], got {rank}.", parameter="rank"
        )
