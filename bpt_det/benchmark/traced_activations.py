"""Traced activations: bytes that autograd saves in a call, counted on torch's ``meta`` device.

Nothing is computed and nothing is stored, so that a block of any size is counted in milliseconds.

Shape legend: B batch, H heads, T tokens, d width of a head.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

_PRODUCTS = (F.linear, F.conv2d, F.conv_transpose2d, torch.matmul, Tensor.matmul, Tensor.__matmul__)
_DTYPES = {4: torch.float32, 2: torch.bfloat16}


def traced_bytes(
    run: Callable[[], Iterable[Tensor]],
    compute_bytes: int,
    *,
    known: Iterable[Tensor],
    counted_elsewhere: Iterable[Tensor] = (),
) -> int:
    """Return the bytes of what autograd saves in a call, each storage once.

    What the call returns is not included.

    Args:
        run: a call on ``meta`` tensors.
        compute_bytes: of a number in matrix products under autocast; 4: no autocast.
        known: parameters and buffers.
        counted_elsewhere: tensors whose storages are not included.
    """
    saved: dict[int, Tensor] = {}  # alive, so that no storage takes the place of another

    def pack(tensor: Tensor) -> Tensor:
        saved[_storage(tensor)] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), _AsOnAGpu(_DTYPES[compute_bytes]):
        outputs = list(run())
    left_out = {_storage(t) for t in (*known, *counted_elsewhere, *outputs)}
    return sum(t.untyped_storage().nbytes() for key, t in saved.items() if key not in left_out)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _AsOnAGpu(TorchFunctionMode):
    """Autocast and fused attention of a GPU: what is cast, and what attention saves."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _PRODUCTS:
            args, kwargs = _cast(args, self.dtype), _cast_values(kwargs, self.dtype)
        elif func is F.layer_norm:
            args, kwargs = _cast(args, torch.float32), _cast_values(kwargs, torch.float32)
        elif func is F.scaled_dot_product_attention:
            args, kwargs = _cast(args, self.dtype), _cast_values(kwargs, self.dtype)
            if args[0].dim() == 4:  # else there is no fused kernel
                mask = [m for m in (*args[3:4], kwargs.get("attn_mask")) if m is not None]
                return _FusedAttention.apply(*args[:3], *mask)
        return func(*args, **kwargs)


def _cast(values: Iterable[Any], dtype: torch.dtype) -> list:
    return [
        value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in values
    ]


def _cast_values(values: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    return dict(zip(values, _cast(values.values(), dtype), strict=True))


class _FusedAttention(torch.autograd.Function):
    """Saves what fused attention does: inputs, output, and logarithms of sums in float32."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, *mask: Tensor) -> Tensor:
        batch, heads, tokens, _ = queries.shape
        output = queries.new_empty(batch, tokens, heads, values.shape[-1]).transpose(1, 2)
        sums = queries.new_empty(batch, heads, tokens, dtype=torch.float32)
        ctx.save_for_backward(queries, keys, values, output, sums, *mask)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("traced tensors have no values")
