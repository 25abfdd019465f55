#!/usr/bin/env python
"""Run the main job at small size: render a dataset, train, evaluate, draw masks.

Example: python tools/demo.py
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from demo_runner import run, run_demo_tool

from bpt_det.engine.config import as_override
from bpt_det.engine.metrics import format_ap_table, read_final_metrics

logger = logging.getLogger("demo")

CONFIG = "configs/shapes/cascade_bpt_s.py"
SCORE_THRESHOLD = "0.2"  # after so short a training, scores are low


def run_demo(output: Path, overrides: Sequence[str]) -> None:
    """Render, train, evaluate and draw; then print the metrics and where the pictures are."""
    datasets, pictures = output / "datasets", output / "pictures"
    run(["-m", "bpt_det.shapes", "--output", str(datasets / "shapes")], datasets)
    settings = [as_override("train.output_dir", output), *overrides]
    run(["tools/train_net.py", "--config-file", CONFIG, *settings], datasets)
    draw = ["tools/visualize_masks.py", "--config-file", CONFIG, "--output", str(pictures)]
    run([*draw, "--score-threshold", SCORE_THRESHOLD, *settings], datasets)
    logger.info("\n%s", format_ap_table(read_final_metrics(output)))
    logger.info("\ncontact sheet: %s", pictures / "contact_sheet.png")


def main(argv: Sequence[str] | None = None) -> int:
    return run_demo_tool(__doc__, argv, "demo", run_demo)


if __name__ == "__main__":
    raise SystemExit(main())
