"""Metrics of a run: reading its metrics.json, and the AP table."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bpt_det.utils.errors import InputError


def read_records(metrics_file: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a metrics.json; lines that an interruption has cut are left out.

    Args:
        metrics_file: one record a line, with an ``iteration`` each; it need not exist.
    """
    path = Path(metrics_file)
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "iteration" in record:
            yield record


def read_final_metrics(
    output_dir: str | Path, metric: str | Sequence[str] = "bbox/AP"
) -> dict[str, float]:
    """Return the metrics of the last evaluation of a run, by name such as ``bbox/AP``.

    Args:
        output_dir: folder of the run.
        metric: the evaluation gives this one, or one of these.

    Raises:
        InputError: there was no such evaluation yet.
    """
    accepted = {metric} if isinstance(metric, str) else set(metric)
    path = Path(output_dir) / "metrics.json"
    evaluations = [record for record in read_records(path) if not accepted.isdisjoint(record)]
    if not evaluations:
        raise InputError(
            f"'{path}' holds no evaluation with {' or '.join(sorted(accepted))}; train first."
        )
    return {name: value for name, value in evaluations[-1].items() if "/" in name}


def format_ap_table(metrics: dict[str, float]) -> str:
    """Return COCO's six metrics of boxes and masks as a table, in percent."""
    columns = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    rows = [
        [label, *(metrics.get(f"{task}/{column}", float("nan")) for column in columns)]
        for label, task in (("box", "bbox"), ("mask", "segm"))
    ]
    return tabulate(rows, headers=["", *columns], floatfmt=".1f")
