"""Measurements as Markdown tables."""

from collections.abc import Sequence

from tabulate import tabulate

from .measure import Measurement

_HEADERS = [
    *("what", "model", "batch", "median s", "spread s", "images/s", "TFLOP", "TFLOP/s", "of peak"),
    *("weights GB", "optimizer GB", "peak beside GB"),
]
# Variant, and what it is compared with, by measure.
_STEPS = (
    ("bpt_s", "full"),
    ("bpt_d", "full"),
    ("bpt_s", "vitdet_b"),
    ("bpt_s_checkpointed", "vitdet_b"),
    ("bpt_d", "vitdet_b"),
    ("bpt_s_checkpointed", "bpt_s"),
    ("bpt_s", "detectron2_vitdet"),
    ("bpt_d", "detectron2_vitdet"),
    ("vitdet_b", "detectron2_vitdet"),
)
_COMPARED = {
    "forward": (("bpt_s", "bare"), ("bpt_s", "vitdet_b")),
    "backbone_step": _STEPS,
    "train_step": _STEPS,
    "inference": (("bpt_s", "vitdet_b"),),
    "evaluation": (("ours", "detectron2"),),
    "scoring": (("ours", "detectron2"),),
}


def format_measurements(
    results: Sequence[Measurement], peak: float, peak_dtype: str = "float32"
) -> str:
    """Return a table with a row a measurement.

    Args:
        results: in the order of the rows.
        peak: floating-point operations a second that a matrix product reached in the same run.
        peak_dtype: that it was computed in; what was computed in another has no share of it.
    """
    rows = [[r.measure, r.label, r.batch_size, *_numbers(r, peak, peak_dtype)] for r in results]
    return tabulate(rows, _HEADERS, tablefmt="pipe", disable_numparse=True)


def _numbers(result: Measurement, peak: float, peak_dtype: str) -> list[str]:
    if not result.is_measured:
        return [result.failure or "", *[""] * (len(_HEADERS) - 4)]
    rate, memory = result.flops_per_second, result.activation_bytes
    return [
        f"{result.median:.4f}",
        f"{result.spread:.4f}",
        f"{result.batch_size / result.median:.2f}",
        "" if rate is None else f"{result.flops / 1e12:.3f}",
        "" if rate is None else f"{rate / 1e12:.2f}",
        "" if rate is None or result.dtype != peak_dtype else f"{rate / peak:.2f}",
        f"{result.weight_bytes / 1e9:.3f}",
        f"{result.optimizer_bytes / 1e9:.3f}",
        "" if memory is None else f"{memory / 1e9:.3f}",
    ]


def format_ratios(results: Sequence[Measurement]) -> str:
    """Return a table of what variants need relative to others, see `ratios`."""
    rows = [
        [
            f"{ratio['measure']}: {ratio['label']} / {ratio['other_label']}",
            ratio["batch_size"],
            *("" if value is None else f"{value:.3f}" for value in _values(ratio)),
        ]
        for ratio in ratios(results)
    ]
    headers = ["ratio", "batch", "time", "by FLOPs", "peak memory beside"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def ratios(results: Sequence[Measurement]) -> list[dict]:
    """Return what each variant needs relative to those it is compared with.

    What was not measured is left out; a ratio of what is not known is None.
    """
    found = {(r.batch_size, r.measure, r.variant): r for r in results if r.is_measured}
    return [
        {
            "measure": measure,
            "batch_size": batch_size,
            "variant": ours,
            "label": found[batch_size, measure, ours].label,
            "other": theirs,
            "other_label": found[batch_size, measure, theirs].label,
            **_compare(found[batch_size, measure, ours], found[batch_size, measure, theirs]),
        }
        for batch_size in sorted({r.batch_size for r in results})
        for measure, pairs in _COMPARED.items()
        for ours, theirs in pairs
        if {(batch_size, measure, ours), (batch_size, measure, theirs)} <= found.keys()
    ]


def _compare(one: Measurement, other: Measurement) -> dict[str, float | None]:
    return {
        "time": one.median / other.median,
        "flops": _quotient(one.flops, other.flops),
        "memory": _quotient(one.activation_bytes, other.activation_bytes),
    }


def _quotient(one: int | None, other: int | None) -> float | None:
    return None if one is None or not other else one / other


def _values(ratio: dict) -> tuple[float | None, ...]:
    return ratio["time"], ratio["flops"], ratio["memory"]
