"""Seconds of a call, on a GPU until its work is done."""

import time
from collections.abc import Callable

import torch


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
