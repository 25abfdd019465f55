"""Small classifiers, trained and tested: what `bpt-det demo-cls` does."""

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from bpt_det.config.overrides import as_override
from bpt_det.engine.metrics import read_final_metrics

from ..logs import RESULT
from .demo_steps import run_demo, run_module

logger = logging.getLogger(__name__)

CONFIG = "shapes/crops"
METHODS = {  # by name: its label, and what its run is sped up by
    "bpt_s": ("bilinear prompts", []),
    # Without prompts all blocks depend on the image alone, and here every image has one view.
    "frozen": ("linear head alone", ["dataloader.cache_prefix=True"]),
}
TASKS = {"val": "last val", "test": "best, test"}  # of these weights on these images
COLUMNS = {"top1": "top-1", "top5": "top-5", "mean_per_class": "mean per class"}


def format_accuracy_table(runs: Mapping[str, Mapping[str, float]]) -> str:
    """Return the accuracies of several runs as a table, in percent.

    Args:
        runs: metrics by name, such as ``val/top1``, by label; missing ones are nan.
    """
    keys = [f"{task}/{column}" for task in TASKS for column in COLUMNS]
    rows = [
        [label, *(metrics.get(key, math.nan) for key in keys)] for label, metrics in runs.items()
    ]
    headers = ["", *(f"{task}\n{title}" for task in TASKS.values() for title in COLUMNS.values())]
    return tabulate(rows, headers=headers, floatfmt=".1f")


def demo(output: Path, overrides: Sequence[str]) -> None:
    """Render, train each method and test it; then print accuracies and where the pictures are."""
    datasets = output / "datasets"
    crops = ["bpt_det.shapes", "--crops", "--output", str(datasets / "shapes_crops")]
    run_module(crops, datasets)
    for name, (_, speedup) in METHODS.items():
        command = ["bpt_det.cli", "train-cls", "--config-file", CONFIG, f"method={name}"]
        folder = as_override("train.output_dir", output / name)
        run_module([*command, folder, *speedup, *overrides], datasets)
    runs = {
        label: read_final_metrics(output / name, "test/top1")
        for name, (label, _) in METHODS.items()
    }
    logger.log(RESULT, "\n%s", format_accuracy_table(runs))
    pictures = output / next(iter(METHODS))
    logger.log(RESULT, "\ncurves: %s", pictures / "curves.png")
    logger.log(RESULT, "most confused classes: %s", pictures / "test/most_confused.png")


def run(args: argparse.Namespace) -> int:
    """Run the demo, and return the exit status."""
    return run_demo(args, demo)
