"""Counted floating-point operations, and how many a second a machine reaches at best."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from .timing import time_call

COUNTER = "torch.utils.flop_counter.FlopCounterMode"


def count_flops(run: Callable[[], object]) -> int:
    """Return the operations of a call, a multiplication and an addition being two.

    Matrix products, convolutions and attention only. Of attention the scores that the backward
    pass computes again are counted, as torch does; what checkpointing computes again too.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    with counter:
        run()
    return counter.get_total_flops()


def matmul_peak(device: str, dtype: torch.dtype, *, size: int, repeats: int = 10) -> float:
    """Return the most operations a second that a square matrix product reached.

    Args:
        device: ``cuda`` or ``cpu``.
        dtype: of the matrices.
        size: their side.
        repeats: the fastest of so many counts.
    """
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = min(time_call(lambda: left @ right, device) for _ in range(repeats))
    return 2 * size**3 / seconds


def _attention(query: tuple, key: tuple, value: tuple, *args: object, **kwargs: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    grad: tuple, query: tuple, key: tuple, value: tuple, *args: object, **kwargs: object
) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


# torch counts the fused attention of GPUs only.
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
