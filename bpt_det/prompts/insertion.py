"""Putting prompt tokens into a sequence, in place of earlier ones."""

import torch
from torch import Tensor


def insert_prompts(
    tokens: Tensor, prompts: Tensor, num_prefix_tokens: int, num_replaced: int = 0
) -> Tensor:
    """Put prompts between the prefix tokens and the patches, replacing those already there.

    Args:
        tokens: (B, num_prefix_tokens + num_replaced + N, D): prefix, old prompts, N patches.
        prompts: (B, P, D), the new prompts.
        num_prefix_tokens: tokens before the prompts, 1 for a class token.
        num_replaced: old prompt tokens to drop, 0 where there are none yet.

    Returns:
        (B, num_prefix_tokens + P + N, D).
    """
    prefix = tokens[:, :num_prefix_tokens]
    patches = tokens[:, num_prefix_tokens + num_replaced :]
    return torch.cat([prefix, prompts.to(tokens.dtype), patches], dim=1)
