"""Reading back what a run has written to its metrics.json."""

import json
from pathlib import Path

from tabulate import tabulate

from bpt_det.errors import InputError


def read_final_metrics(output_dir: str | Path) -> dict[str, float]:
    """Return the metrics of the last evaluation of a run, by name such as ``bbox/AP``.

    Args:
        output_dir: folder of the run.

    Raises:
        InputError: there was no evaluation yet.
    """
    path = Path(output_dir) / "metrics.json"
    lines = path.read_text().splitlines() if path.is_file() else []
    evaluations = [record for record in map(json.loads, lines) if "bbox/AP" in record]
    if not evaluations:
        raise InputError(f"'{path}' holds no evaluation; train with --config-file first.")
    return {name: value for name, value in evaluations[-1].items() if "/" in name}


def format_ap_table(metrics: dict[str, float]) -> str:
    """Return COCO's six metrics of boxes and masks as a table, in percent."""
    columns = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    rows = [
        [label, *(metrics.get(f"{task}/{column}", float("nan")) for column in columns)]
        for label, task in (("box", "bbox"), ("mask", "segm"))
    ]
    return tabulate(rows, headers=["", *columns], floatfmt=".1f")
