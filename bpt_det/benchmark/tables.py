"""Tables of measurements, as Markdown."""

from collections.abc import Sequence

from tabulate import tabulate

from .measure import Measurement

_HEADERS = [
    "what",
    "model",
    "batch",
    "median s",
    "spread s",
    "images/s",
    "TFLOP",
    "TFLOP/s",
    "of peak",
    "weights (GB)",
    "optimizer (GB)",
    "peak activations (GB)",
]
# Pairs of variants that are compared.
_STEPS = (
    ("bpt_s", "full"),
    ("bpt_d", "full"),
    ("bpt_s", "vitdet_b"),
    ("bpt_s_checkpointed", "vitdet_b"),
    ("bpt_d", "vitdet_b"),
    ("bpt_s_checkpointed", "bpt_s"),
    ("bpt_d_layers", "bpt_d"),
    ("bpt_d_neck", "bpt_d"),
    *((tuned, "bpt_s") for tuned in ("lora", "adaptformer", "ssf", "bitfit", "partial_1")),
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
    """Return a table with a row per measurement.

    Args:
        results: in the order of the rows.
        peak: FLOP/s that a matrix product reached in the same run.
        peak_dtype: of that matrix product; measurements in another dtype have no share of the peak.
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
    """Return a table of the costs of variants relative to others, see `ratios`."""
    rows = [
        [
            f"{ratio['measure']}: {ratio['label']} / {ratio['other_label']}",
            ratio["batch_size"],
            *("" if value is None else f"{value:.3f}" for value in _values(ratio)),
        ]
        for ratio in ratios(results)
    ]
    headers = ["ratio", "batch", "time", "by FLOPs", "peak activations"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def ratios(results: Sequence[Measurement]) -> list[dict]:
    """Return the cost of each variant relative to those it is compared with.

    Pairs that were not measured are left out; the ratio of an unknown cost is None.
    """
    measured = {(r.batch_size, r.measure, r.variant): r for r in results if r.is_measured}
    return [
        {
            "measure": measure,
            "batch_size": batch_size,
            "variant": ours,
            "label": measured[batch_size, measure, ours].label,
            "other": theirs,
            "other_label": measured[batch_size, measure, theirs].label,
            **_compare(measured[batch_size, measure, ours], measured[batch_size, measure, theirs]),
        }
        for batch_size in sorted({r.batch_size for r in results})
        for measure, pairs in _COMPARED.items()
        for ours, theirs in pairs
        if {(batch_size, measure, ours), (batch_size, measure, theirs)} <= measured.keys()
    ]


def _compare(ours: Measurement, theirs: Measurement) -> dict[str, float | None]:
    return {
        "time": ours.median / theirs.median,
        "flops": _quotient(ours.flops, theirs.flops),
        "memory": _quotient(ours.activation_bytes, theirs.activation_bytes),
    }


def _quotient(ours: int | None, theirs: int | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs


def _values(ratio: dict) -> tuple[float | None, ...]:
    return ratio["time"], ratio["flops"], ratio["memory"]
