"""Collect the token statistics that a config's prompts are initialized from.

Whitened prompts, and bilinear ones with basis_init=whitening, need the second moment of each
prompted block; SPT's prompts need patch tokens. Images pass once through the frozen ViT of the
config, each resized and cut to the square the ViT was pre-trained on. The file is tied to that ViT.

Example: bpt-det stats --config-file coco/cascade method=fwhiten_s

which is short for

    bpt-det stats --config-file coco/cascade method=fwhiten_s \\
        --images coco_2017_train --num-images 100 \\
        --output statistics/coco/cascade_whiten_s.safetensors

and for a classifier

    bpt-det stats --config-file fgvc/cub method=fwhiten_s
"""

import argparse
from collections.abc import Sequence

from .arguments import add_log_options, build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("stats", __doc__)
    parser.add_argument(
        "--config-file", required=True, help="LazyConfig of a detector or classifier"
    )
    parser.add_argument("--output", help="file to write (default: the one the config names)")
    add = parser.add_argument_group("images").add_argument
    add(
        "--images",
        help="folder of images, searched with its subfolders, or, for a detector, the name of a "
        "dataset (default: the training data of the config)",
    )
    add(
        "--num-images", type=int, default=100, help="number of images, evenly spread (default: 100)"
    )
    add(
        "--image-size",
        type=int,
        help="side of the square input in pixels (default: that of a classifier's training crops, "
        "or a detector's pretrain_size)",
    )
    add(
        "--token-images",
        type=int,
        default=20,
        help="images whose tokens are kept for SPT's prompts (default: 20)",
    )
    add("--batch-size", type=int, default=10, help="images per batch (default: 10)")
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, collect the statistics, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.stats import run

    return run(args)
