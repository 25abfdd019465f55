"""The main job at small size: what `bpt-det demo` does."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from bpt_det.config.overrides import as_override
from bpt_det.engine.metrics import format_ap_table, read_final_metrics
from bpt_det.engine.precision import computes_bfloat16

from ..logs import RESULT
from .demo_steps import run_demo, run_module

logger = logging.getLogger(__name__)

CONFIG, METHOD = "shapes/cascade", "method=bpt_s"
SCORE_THRESHOLD = "0.2"  # after so short a run, scores are low


def demo(output: Path, overrides: Sequence[str]) -> None:
    """Render, train, evaluate and draw; then print the metrics and where the pictures are."""
    datasets, pictures = output / "datasets", output / "pictures"
    run_module(["bpt_det.shapes", "--output", str(datasets / "shapes")], datasets)
    settings = [METHOD, as_override("train.output_dir", output), *_precision(), *overrides]
    run_module(["bpt_det.cli", "train", "--config-file", CONFIG, *settings], datasets)
    draw = ["bpt_det.cli", "visualize", "--config-file", CONFIG, "--output", str(pictures)]
    run_module([*draw, "--score-threshold", SCORE_THRESHOLD, *settings], datasets)
    logger.log(RESULT, "\n%s", format_ap_table(read_final_metrics(output)))
    logger.log(RESULT, "\ncontact sheet: %s", pictures / "contact_sheet.png")


def _precision() -> list[str]:
    """Return the setting that trains fastest: the default, or bfloat16 on a CPU that has it."""
    is_faster = not torch.cuda.is_available() and computes_bfloat16("cpu")
    return ["train.precision=bfloat16"] if is_faster else []


def run(args: argparse.Namespace) -> int:
    """Run the demo, and return the exit status."""
    return run_demo(args, demo)
