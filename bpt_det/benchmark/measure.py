"""Measurement of workloads: time, FLOPs and memory, with interleaved repeats in one process."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles

import torch
from torch import nn

from bpt_det.engine import DivergenceError

from .cost import (
    count_flops,
    gradient_bytes,
    optimizer_bytes,
    peak_bytes,
    time_call,
    weight_bytes,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workload:
    """A function to measure.

    Args:
        measure: kind of the measurement, one of `MEASURES`.
        variant: name of the model's variant.
        label: the variant's name in tables.
        batch_size: images per call.
        run: the function.
        model: model whose parameters and gradients are counted; None: none.
        optimizer: optimizer whose states are counted; None: none.
        counts_flops: whether its FLOPs are counted.
        dtype: of its matrix products.
    """

    measure: str
    variant: str
    label: str
    batch_size: int
    run: Callable[[], object]
    model: nn.Module | None = None
    optimizer: torch.optim.Optimizer | None = None
    counts_flops: bool = True
    dtype: torch.dtype = torch.float32


@dataclass
class Measurement:
    """Measured cost of a workload.

    Args:
        measure, variant, label, batch_size, dtype: of the workload.
        seconds: of each repeat.
        flops: of a call, see `count_flops`; None: not counted.
        weight_bytes: parameters and buffers of its model.
        gradient_bytes: gradients after a call.
        optimizer_bytes: states of its optimizer.
        activation_bytes: peak activation memory of a call, without weights and optimizer states
            but with the gradients that existed at the peak; None: unknown.
        failure: why it was not measured, or None.
    """

    measure: str
    variant: str
    label: str
    batch_size: int
    dtype: str
    seconds: list[float]
    flops: int | None = None
    weight_bytes: int = 0
    gradient_bytes: int = 0
    optimizer_bytes: int = 0
    activation_bytes: int | None = None
    failure: str | None = None

    @property
    def median(self) -> float:
        """Median seconds of a call."""
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range of the seconds; 0 of a single repeat."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = quantiles(self.seconds, n=4, method="inclusive")
        return third - first

    @property
    def flops_per_second(self) -> float | None:
        """FLOP/s at the median time; None: not counted."""
        return None if self.flops is None else self.flops / self.median

    def as_dict(self) -> dict:
        """Return all values and rates for a JSON file."""
        summary = {}
        if self.is_measured:
            summary = {
                "median_seconds": self.median,
                "spread_seconds": self.spread,
                "images_per_second": self.batch_size / self.median,
                "flops_per_second": self.flops_per_second,
            }
        return {**asdict(self), **summary}

    @property
    def is_measured(self) -> bool:
        """Whether it has times."""
        return self.failure is None and bool(self.seconds)


def measure_all(
    workloads: Sequence[Workload], device: str, repeats: int, *, warmups: int = 1
) -> list[Measurement]:
    """Measure workloads; repeats are interleaved, so that machine noise affects all alike.

    A workload that runs out of GPU memory, or whose loss is not finite, is not repeated.

    Args:
        workloads: all are in memory at the same time.
        device: ``cuda`` or ``cpu``.
        repeats: timed calls per workload.
        warmups: calls before the timed ones.
    """
    results = [
        Measurement(
            measure=w.measure,
            variant=w.variant,
            label=w.label,
            batch_size=w.batch_size,
            dtype=str(w.dtype).removeprefix("torch."),
            seconds=[],
        )
        for w in workloads
    ]
    pairs = list(zip(workloads, results, strict=True))
    for workload, result in pairs:
        _guarded(lambda w=workload, r=result: _prepare(w, r, device, warmups), workload, result)
    for _ in range(repeats):
        for workload, result in pairs:
            if result.failure is None:
                _guarded(
                    lambda w=workload, r=result: r.seconds.append(time_call(w.run, device)),
                    workload,
                    result,
                )
    return results


def _guarded(action: Callable[[], None], workload: Workload, result: Measurement) -> None:
    """Record a failure that concerns one workload only."""
    try:
        action()
    except torch.cuda.OutOfMemoryError:
        result.failure = "out of memory"
    except (DivergenceError, FloatingPointError) as error:
        result.failure = "loss not finite"
        logger.warning("%s, %s: %s", workload.measure, workload.label, error)
    if result.failure:
        _forget_gradients(workload)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _prepare(workload: Workload, result: Measurement, device: str, warmups: int) -> None:
    """Warm up, count FLOPs, and measure memory."""
    for _ in range(warmups):
        workload.run()
    if workload.counts_flops:
        result.flops = count_flops(workload.run)
    _forget_gradients(workload)
    result.weight_bytes = weight_bytes(workload.model)
    result.optimizer_bytes = optimizer_bytes(workload.optimizer)
    result.activation_bytes = peak_bytes(workload.run, device)
    result.gradient_bytes = gradient_bytes(workload.model)
    _forget_gradients(workload)


def _forget_gradients(workload: Workload) -> None:
    if workload.model is not None:
        workload.model.zero_grad(set_to_none=True)
