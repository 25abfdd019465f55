"""Peak of the resident set and sizes of what a model holds."""

import sys

import pytest
import torch
from torch import nn

from bpt_det.benchmark.peak_memory import gradient_bytes, optimizer_bytes, peak_bytes, weight_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the resident set is read from /proc")
def test_the_peak_is_what_a_call_takes_and_gives_back():
    size = 64 * 2**20
    found = peak_bytes(lambda: torch.ones(size, dtype=torch.uint8), "cpu")
    assert 0.8 * size < found < 1.5 * size


def test_buffers_count_as_weights_and_missing_gradients_not_at_all():
    model = nn.BatchNorm1d(3)  # 2 · 3 parameters; 2 · 3 numbers of 4 bytes and one of 8 beside
    assert weight_bytes(model) == 4 * 12 + 8
    assert gradient_bytes(model) == 0
    assert weight_bytes(None) == gradient_bytes(None) == optimizer_bytes(None) == 0
