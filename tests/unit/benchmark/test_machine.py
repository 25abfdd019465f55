"""The machine: names, attention kernels and peak FLOP/s."""

import torch

from bpt_det.benchmark.machine import attention_kernels, describe_machine, matmul_peak
from bpt_det.engine.precision import Precision


def test_a_machine_has_a_name_cores_and_versions():
    description = describe_machine("cpu")
    assert description["device"] and description["cores"] >= 1
    assert description["torch"] == torch.__version__


def test_the_chosen_kernel_is_one_of_the_available():
    kernels = attention_kernels(Precision("cpu", torch.float32), num_heads=2, head_dim=8)
    assert "math" in kernels["available"] and kernels["chosen"] in kernels["available"]


def test_a_peak_is_positive():
    assert matmul_peak("cpu", torch.float32, size=8, repeats=2) > 0
