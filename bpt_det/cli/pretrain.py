"""Pre-train a ViT as a masked autoencoder, described by a LazyConfig.

Uses the GPU if there is one, else the CPU. Settings of the config are changed as key=value. The
images may be any folder (its subfolders too), a zip archive, or a dataset in COCO's format:

    bpt-det pretrain --config-file shapes/mae_micro
    bpt-det pretrain --config-file shapes/mae_micro \\
        data=/data/photographs train.output_dir=output/mae_photographs
    bpt-det pretrain --config-file shapes/mae_micro \\
        data=/data/mine/train.json:/data/mine/images train.output_dir=output/mae_mine

At the end encoder.pth in the output folder is what checkpoint= of a ViT takes, and
reconstructions.png shows how held-out images are filled in.
"""

import argparse
from collections.abc import Sequence

from .arguments import build_training_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return build_training_parser("pretrain", __doc__)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, pre-train or evaluate, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from bpt_det.pretraining import use_pretraining_data

    from .launch import run_training_tool

    return run_training_tool(args, adapt=use_pretraining_data)
