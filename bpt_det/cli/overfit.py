"""Check on real photographs that the model learns: memorize 8 COCO images (`make overfit`).

Passes if box AP50 and mask AP50 on the same images reach their targets. Needs COCO 2017 train
images under $DETECTRON2_DATASETS (see datasets/README.md), and takes up to 15 minutes on 2 cores.

Example: DETECTRON2_DATASETS=/data bpt-det overfit
"""

import argparse
from collections.abc import Sequence

from .arguments import build_demo_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return build_demo_parser("overfit", __doc__, "overfit")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train, check, and return the exit status."""
    args = build_parser().parse_args(argv)
    from .actions.overfit import run

    return run(args)
