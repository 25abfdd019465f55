"""Train or evaluate an image classifier described by a LazyConfig.

Uses the GPU if there is one, else the CPU. Settings of the config are changed as key=value:

    bpt-det train-cls --config-file fgvc/cub method=bpt_s \\
        dataloader.root=/data train.output_dir=output/cub_bpt_s
    bpt-det train-cls --config-file fgvc/cub method=bpt_s --eval-only \\
        dataloader.root=/data train.init_checkpoint=output/cub_bpt_s/model_best.pth

Images of your own, one folder per class, in a folder or a zip archive:

    bpt-det train-cls --config-file fgvc/cub method=bpt_s data=folder:/data/mine
"""

import argparse
from collections.abc import Sequence

from .arguments import build_training_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return build_training_parser("train-cls", __doc__)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train or evaluate, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from bpt_det.classification import use_classification_data

    from .launch import run_training_tool

    return run_training_tool(args, adapt=use_classification_data)
