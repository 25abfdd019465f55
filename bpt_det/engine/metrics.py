"""Metrics of a run: reading metrics.json and result.json, and the AP table."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bpt_det.utils.errors import InputError

from .result import read_result

METRICS_NAME = "metrics.json"  # as Detectron2's JSONWriter names it


def read_records(metrics_file: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a metrics.json; lines that an interruption has cut are left out.

    Args:
        metrics_file: one record per line, with an ``iteration`` each; it need not exist. null there
            is nan here.
    """
    path = Path(metrics_file)
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # also numbers of 5,000 digits
            continue
        if isinstance(record, dict) and isinstance(record.get("iteration"), int):
            yield {name: math.nan if value is None else value for name, value in record.items()}


def read_final_metrics(
    output_dir: str | Path, metric: str | Sequence[str] = "bbox/AP"
) -> dict[str, float]:
    """Return the metrics of a run's last evaluation and of its final test, by name: ``bbox/AP``.

    Args:
        output_dir: folder of the run, whose result.json is read; null there is nan here.
        metric: they hold this one, or one of these.

    Raises:
        InputError: there is no result, or no such metric in it.
    """
    accepted = {metric} if isinstance(metric, str) else set(metric)
    result = read_result(output_dir)
    metrics = {**result.metrics["last"], **result.metrics["final"]}
    if accepted.isdisjoint(metrics):
        raise InputError(
            f"'{output_dir}' ({result.status}) has no evaluation with "
            f"{' or '.join(sorted(accepted))}; train first."
        )
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def format_ap_table(metrics: dict[str, float]) -> str:
    """Return COCO's six metrics of boxes and masks as a table, in percent; "-" is none, as nan."""
    columns = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    rows: list[list[Any]] = []
    for label, task in (("box", "bbox"), ("mask", "segm")):
        values = [metrics.get(f"{task}/{column}", math.nan) for column in columns]
        rows.append([label, *(None if math.isnan(value) else value for value in values)])
    return tabulate(rows, headers=["", *columns], floatfmt=".1f", missingval="-")
