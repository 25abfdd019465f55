"""What the attention of a block sees, and its query and key weights, whatever the block's family.

Shape legend: B batch, N tokens, D embed_dim, A width of the queries of all heads.
"""

from typing import Any

import torch
from timm.models.eva import EvaBlockPostNorm
from timm.models.vision_transformer import ResPostBlock
from torch import Tensor, nn

from bpt_det.utils.errors import InputError

_POST_NORM = (ResPostBlock, EvaBlockPostNorm)  # their first norm is after the attention


def attention_input(block: nn.Module, tokens: Tensor) -> Tensor:
    """Return tokens (B, N, D) as the attention of a block sees them: after its first norm, if any.

    Raises:
        InputError: the block has no first norm.
    """
    if isinstance(block, _POST_NORM):
        return tokens
    return _member(block, "norm1")(tokens)


def qkv_weight(block: nn.Module) -> Tensor:
    """Return the weight of queries, keys and values of a block, (3 A, D).

    It is of all heads together. Biases are left out, and so are the norms of queries and keys and
    their rotation by positions, which some families have: none of them is linear in the tokens
    alone. Where several heads share a key, it is repeated for each.

    Raises:
        InputError: the block keeps no such weights.
    """
    attention = _member(block, "attn")
    if getattr(attention, "qkv", None) is not None:
        return attention.qkv.weight
    weights = [_member(attention, f"{name}_proj").weight for name in "qkv"]
    num_groups = getattr(attention, "num_kv_groups", 1)
    head_dim = _member(attention, "head_dim")
    heads = [weight.unflatten(0, (-1, head_dim)) for weight in weights[1:]]
    repeated = [head.repeat_interleave(num_groups, dim=0).flatten(0, 1) for head in heads]
    return torch.cat([weights[0], *repeated])


def _member(module: nn.Module, name: str) -> Any:
    member = getattr(module, name, None)
    if member is None:
        raise InputError(
            f"token statistics need the queries and keys of a block, but a {type(module).__name__} "
            f"has no {name}; choose prompts that need no statistics."
        )
    return member
