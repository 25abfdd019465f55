#!/usr/bin/env python
"""Check on real photographs that the model learns: memorize 8 COCO images (`make overfit`).

Passes if box AP50 and mask AP50 on the same images reach their targets. Needs COCO 2017 train
images under $DETECTRON2_DATASETS (see datasets/README.md), and takes up to 15 minutes on 2 cores.

Example: DETECTRON2_DATASETS=/data python tools/overfit_check.py
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.cli.launch import build_parser, build_tool_parser, run_tool, train_or_evaluate
from bpt_det.engine.config import as_override
from bpt_det.engine.metrics import format_ap_table, read_final_metrics

logger = logging.getLogger("overfit_check")

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs/coco/overfit_micro.py"
TARGETS = {"bbox/AP50": 50.0, "segm/AP50": 40.0}  # percent
EXIT_MISSED = 1


def check(output: Path, overrides: Sequence[str]) -> int:
    """Train, print the metrics beside their targets, and return the exit status."""
    start = time.perf_counter()
    settings = ["--config-file", str(CONFIG), as_override("train.output_dir", output), *overrides]
    train_or_evaluate(build_parser(__doc__).parse_args(settings))
    metrics = read_final_metrics(output)
    logger.info("\n%s\n", format_ap_table(metrics))
    for name, target in TARGETS.items():
        verdict = "reached" if metrics[name] >= target else "MISSED"
        logger.info("%s %.1f, target %.0f: %s", name, metrics[name], target, verdict)
    logger.info("total time: %.0f s", time.perf_counter() - start)
    return 0 if all(metrics[name] >= target for name, target in TARGETS.items()) else EXIT_MISSED


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_tool_parser(__doc__)
    default = ROOT / f"output/overfit-{time.strftime('%Y%m%d-%H%M%S')}"
    parser.add_argument("--output", type=Path, default=default, help="a new folder")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return run_tool(lambda: check(args.output.resolve(), args.opts))


if __name__ == "__main__":
    raise SystemExit(main())
