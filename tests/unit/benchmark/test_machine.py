"""The machine and its kernels of attention."""

import torch

from bpt_det.benchmark.machine import attention_kernels, describe_machine
from bpt_det.engine.precision import Precision


def test_a_machine_has_a_name_cores_and_versions():
    found = describe_machine("cpu")
    assert found["device"] and found["cores"] >= 1
    assert found["torch"] == torch.__version__


def test_the_chosen_kernel_is_one_of_the_available():
    found = attention_kernels(Precision("cpu", torch.float32), num_heads=2, head_dim=8)
    assert "math" in found["available"] and found["chosen"] in found["available"]
