"""Cost of a call: FLOPs against the formulas, peak memory and sizes of a model."""

import sys
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bpt_det.benchmark.cost import (
    count_flops,
    gradient_bytes,
    optimizer_bytes,
    peak_bytes,
    weight_bytes,
)

B, H, N, D = 2, 3, 16, 8


def test_a_product_counts_multiplications_and_additions():
    left, right = torch.ones(4, 5), torch.ones(5, 6)
    assert count_flops(lambda: left @ right) == 2 * 4 * 5 * 6


def test_fused_attention_of_the_cpu_is_counted():
    """Forward: scores and their product with the values. Backward: scores again and 4 more."""
    query = torch.randn(B, H, N, D, requires_grad=True)
    product = 2 * B * H * N * N * D
    with torch.no_grad():
        assert count_flops(lambda: F.scaled_dot_product_attention(query, query, query)) == (
            2 * product
        )
    step = count_flops(lambda: F.scaled_dot_product_attention(query, query, query).sum().backward())
    assert step == (2 + 5) * product


@pytest.mark.skipif(sys.platform != "linux", reason="the resident set is read from /proc")
@pytest.mark.parametrize("has_glibc", [True, False])
def test_the_peak_is_what_a_call_takes_and_gives_back(monkeypatch, has_glibc):
    """Where freed memory cannot be returned, a call may be given it again: the peak is a bound."""
    if not has_glibc:
        monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    size = 64 * 2**20

    def hold() -> None:
        held = torch.ones(size, dtype=torch.uint8)
        time.sleep(0.1)  # several samples, on a busy machine too
        del held

    peak = peak_bytes(hold, "cpu")
    assert (0.8 * size if has_glibc else 0) <= peak < 1.5 * size


def test_buffers_count_as_weights_and_missing_gradients_not_at_all():
    model = nn.BatchNorm1d(3)  # 2 · 3 parameters; 2 · 3 numbers of 4 bytes and one of 8 beside
    assert weight_bytes(model) == 4 * 12 + 8
    assert gradient_bytes(model) == 0
    assert weight_bytes(None) == gradient_bytes(None) == optimizer_bytes(None) == 0
