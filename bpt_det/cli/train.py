"""Train or evaluate a detector described by a LazyConfig.

Uses the GPU if there is one, else the CPU. Settings of the config are changed as key=value:

    bpt-det train --config-file coco/cascade_bpt_s --num-gpus 8 \\
        train.output_dir=output/cascade_bpt_s
    bpt-det train --config-file coco/cascade_bpt_s --eval-only \\
        train.init_checkpoint=output/cascade_bpt_s/model_final.pth

A COCO-format dataset of your own, annotation file and image folder:

    bpt-det train --config-file coco/cascade_bpt_s \\
        data.train=/data/mine/train.json:/data/mine/images \\
        data.val=/data/mine/val.json:/data/mine/images
"""

import argparse
from collections.abc import Sequence

from .arguments import build_training_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return build_training_parser("train", __doc__)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train or evaluate, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from bpt_det.detection import use_detection_data

    from .launch import run_training_tool

    return run_training_tool(args, adapt=use_detection_data)
