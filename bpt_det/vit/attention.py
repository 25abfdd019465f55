"""Attention of a block of any family: what it sees, its query and key weights, what computes it.

Shape legend: B batch, N tokens, D embed_dim, A width of the queries of all heads, H heads.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.eva import EvaBlockPostNorm
from timm.models.vision_transformer import ResPostBlock
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bpt_det.utils.errors import InputError

_POST_NORM = (ResPostBlock, EvaBlockPostNorm)  # their first norm is after the attention
_MOST_TOKENS = 512  # of more, the weights that are kept for the backward pass take too much memory


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


def attention_kernel(tokens: Tensor) -> AbstractContextManager:
    """Return the context in which a block shall compute on tokens (B, N, D).

    PyTorch's fused attention is slow in bfloat16 on the CPU, most of all its gradient, so matrix
    products take its place there (docs/performance/raw/2026-11-29_whole_step.md). Elsewhere the
    context does nothing.
    """
    if tokens.device.type != "cpu" or torch.compiler.is_compiling():
        return nullcontext()
    is_cast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if is_cast else tokens.dtype
    if dtype != torch.bfloat16 or tokens.shape[1] > _MOST_TOKENS:
        return nullcontext()
    return _MatmulAttention()


class _MatmulAttention(TorchFunctionMode):
    """Where it is on, attention is computed in bfloat16 by matrix products."""

    def __torch_function__(
        self,
        func: Callable,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute attention without mask and dropout, and let all else be."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            options = [v for v in kwargs.values() if isinstance(v, Tensor) or v]
            if len(args) == 3 and not options:  # no mask, no dropout
                return _attend(*args)
        return func(*args, **kwargs)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(Q Kᵀ / √d) V of tensors (B, H, N, d), in bfloat16."""
    query, key, value = (each.to(torch.bfloat16) for each in (query, key, value))
    with torch.autocast("cpu", enabled=False):
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        return scores.softmax(dim=-1) @ value
