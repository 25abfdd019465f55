"""Cost of a call: seconds, floating-point operations, and bytes of weights and activations."""

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

FLOP_COUNTER = "torch.utils.flop_counter.FlopCounterMode"
_STATM = Path("/proc/self/statm")
_SAMPLING_SECONDS = 0.002


def time_call(run: Callable[[], object], device: str) -> float:
    """Return the seconds that a call takes on ``cuda`` or ``cpu``."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    """Wait for a GPU; on the CPU there is nothing to wait for."""
    if device == "cuda":
        torch.cuda.synchronize()


def count_flops(run: Callable[[], object]) -> int:
    """Return the FLOPs of a call; a multiplication and an addition are two.

    Matrix products, convolutions and attention only. Scores of attention that the backward pass
    recomputes are counted, as torch does, and so is what checkpointing recomputes.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
    with counter:
        run()
    return counter.get_total_flops()


def weight_bytes(model: nn.Module | None) -> int:
    """Return the bytes of parameters and buffers."""
    return 0 if model is None else _total([*model.parameters(), *model.buffers()])


def gradient_bytes(model: nn.Module | None) -> int:
    """Return the bytes of the gradients that there are."""
    if model is None:
        return 0
    return _total([p.grad for p in model.parameters() if p.grad is not None])


def optimizer_bytes(optimizer: torch.optim.Optimizer | None) -> int:
    """Return the bytes of an optimizer's states."""
    states = optimizer.state.values() if optimizer is not None else ()
    return _total([v for state in states for v in state.values() if isinstance(v, torch.Tensor)])


def peak_bytes(run: Callable[[], object], device: str) -> int | None:
    """Return the peak memory of a call, less what is allocated before it.

    On a GPU what torch allocates, exactly. On the CPU the increase of the resident set of the
    process, sampled every 2 ms; None where the system does not tell it. Without glibc a call may
    reuse what earlier calls have freed, and the peak is a lower bound.
    """
    gc.collect()
    if device == "cpu":
        return _peak_resident_bytes(run) if _STATM.exists() else None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _peak_resident_bytes(run: Callable[[], object]) -> int:
    _return_free_memory()
    before = peak = _resident_bytes()
    is_done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_done.wait(_SAMPLING_SECONDS):
            peak = max(peak, _resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        run()
    finally:
        is_done.set()
        watcher.join()
    return max(peak, _resident_bytes()) - before


def _return_free_memory() -> None:
    """Have glibc return what earlier calls have freed, which would hide what this one takes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _total(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


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
