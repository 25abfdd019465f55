"""Counted operations against the formulas."""

import torch
import torch.nn.functional as F

from bpt_det.benchmark.flops import count_flops, matmul_peak

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


def test_a_peak_is_positive():
    assert matmul_peak("cpu", torch.float32, size=8, repeats=2) > 0
