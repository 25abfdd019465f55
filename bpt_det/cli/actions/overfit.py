"""A detector that memorizes 8 photographs: what `bpt-det overfit` does."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config.overrides import as_override
from bpt_det.engine.metrics import format_ap_table, read_final_metrics

from ..arguments import build_training_parser
from ..launch import train_or_evaluate
from ..logs import RESULT
from .demo_steps import run_demo

logger = logging.getLogger(__name__)

CONFIG = "coco/overfit_micro"
TARGETS = {"bbox/AP50": 50.0, "segm/AP50": 40.0}  # percent
EXIT_MISSED = 1


def overfit(output: Path, overrides: Sequence[str]) -> int:
    """Train, print the metrics beside their targets, and return the exit status."""
    settings = ["--config-file", CONFIG, as_override("train.output_dir", output), *overrides]
    train_or_evaluate(build_training_parser("train", __doc__).parse_args(settings))
    metrics = read_final_metrics(output)
    logger.log(RESULT, "\n%s\n", format_ap_table(metrics))
    for name, target in TARGETS.items():
        verdict = "reached" if metrics[name] >= target else "MISSED"
        logger.log(RESULT, "%s %.1f, target %.0f: %s", name, metrics[name], target, verdict)
    return 0 if all(metrics[name] >= target for name, target in TARGETS.items()) else EXIT_MISSED


def run(args: argparse.Namespace) -> int:
    """Train, check, and return the exit status."""
    return run_demo(args, overfit)
