"""Prompts that depend on the image. Shape legend: B batch, P prompt_length, T prefix, N patches.

D embed_dim, R rank.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bpt_det.utils.errors import InputError, check_count

from .initialization import BlockStatistics
from .parametrization import Prompt


class ConditionedPrompt(Prompt):
    """P learned tokens, each with a shift made of the image by attention of low rank.

    A baseline for prompts that depend on the tokens of their block, as those of CoCoOp
    (arXiv:2203.05557) depend on an image: prompt + up(mean of down(tokens)). Each prompt has its
    own mean, weighted by softmax(down(prompt) down(token) / sqrt(R)), of normalized vectors. ``up``
    starts at 0, so that the first prompts are those of `inner`; 2 R D parameters more.

    Args:
        inner: the prompts without the shift, such as a `FreePrompt`; its settings are its own.
        rank: R, width of the attention, between 1 and D.

    Raises:
        InputError: ``rank`` is out of range.
    """

    ignores_image = False

    def __init__(self, inner: Prompt, rank: int) -> None:
        super().__init__(inner.prompt_length, inner.embed_dim)
        check_count("rank", rank, 1, "rank")
        if rank > self.embed_dim:
            raise InputError(
                f"rank must be in [1, embed_dim={self.embed_dim}], got {rank}.", parameter="rank"
            )
        self.inner = inner
        self.needed_statistics = inner.needed_statistics
        self.down = nn.Parameter(torch.empty(rank, self.embed_dim))
        self.up = nn.Parameter(torch.empty(self.embed_dim, rank))
        self._reset_shift(None)

    def reset_parameters(
        self,
        generator: torch.Generator | None = None,
        statistics: BlockStatistics | None = None,
    ) -> None:
        """Draw new initial values of the prompts, then of the shift."""
        self.inner.reset_parameters(generator, statistics)
        self._reset_shift(generator)

    @torch.no_grad()
    def _reset_shift(self, generator: torch.Generator | None) -> None:
        values = torch.empty(self.down.shape)  # drawn on the CPU, the same on every device
        self.down.copy_(nn.init.xavier_uniform_(values, generator=generator))
        self.up.zero_()

    def forward(self, batch_size: int, tokens: Tensor | None = None) -> Tensor:
        """Return the prompts of each image, (B, P, D).

        Raises:
            InputError: there are no tokens.
        """
        if tokens is None:
            raise InputError(
                "these prompts depend on the image, so they have no values of their own; use "
                "prompts that ignore it, such as BilinearPrompt."
            )
        prompts = self.inner(batch_size, tokens)
        tokens = F.layer_norm(tokens, tokens.shape[-1:])
        keys = tokens.to(self.down) @ self.down.T  # (B, T + N, R)
        queries = F.layer_norm(prompts, prompts.shape[-1:]) @ self.down.T  # (B, P, R)
        means = F.scaled_dot_product_attention(queries, keys, keys)
        return prompts + means @ self.up.T
