"""Machine of a benchmark: versions, attention kernels and peak FLOP/s."""

import os
import platform
from pathlib import Path

import detectron2
import timm
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bpt_det.engine.precision import Precision

from .cost import time_call

_BACKENDS = ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH")
_NUM_TOKENS = 256


def describe_machine(device: str) -> dict[str, str | int]:
    """Return device, cores and versions by name."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor_name(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "detectron2": detectron2.__version__,
        "timm": timm.__version__,
    }


def attention_kernels(precision: Precision, num_heads: int, head_dim: int) -> dict[str, object]:
    """Return the attention kernel that torch chooses, and those that are available.

    For heads as wide as the model's, contiguous and without a mask; a short sequence is enough.
    """
    size = (1, num_heads, _NUM_TOKENS, head_dim)
    query = torch.randn(size, device=precision.device, dtype=precision.dtype)
    available = []
    for name in _BACKENDS:
        try:
            with sdpa_kernel(getattr(SDPBackend, name)):
                F.scaled_dot_product_attention(query, query, query)
        except RuntimeError:  # no such kernel for these inputs
            continue
        available.append(name.lower())
    chosen = SDPBackend(torch._fused_sdp_choice(query, query, query)).name
    return {"chosen": chosen.lower(), "available": available}


def matmul_peak(device: str, dtype: torch.dtype, *, size: int, repeats: int = 10) -> float:
    """Return the highest FLOP/s that a square matrix product reached.

    Args:
        device: ``cuda`` or ``cpu``.
        dtype: of the matrices.
        size: their side.
        repeats: timed products, of which the fastest counts.
    """
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = min(time_call(lambda: left @ right, device) for _ in range(repeats))
    return 2 * size**3 / seconds


def _processor_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
