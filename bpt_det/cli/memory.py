"""Predict the GPU memory that training a detector takes, without a GPU and without weights.

The first table has the memory of one GPU per batch size (images on that GPU), the second the
largest batch that fits each card. Method and measurements: docs/performance/memory.md.

    bpt-det memory --config-file coco/cascade_bpt_s
    bpt-det memory --config-file coco/cascade method=bpt_s vit=vit_h \\
        --checkpointing --batch-sizes 2 4 --image-size 1024 --memory-gb 24 80
"""

import argparse
from collections.abc import Sequence

from .arguments import build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("memory", __doc__)
    parser.add_argument("--config-file", required=True, help="LazyConfig of a detector")
    add = parser.add_argument_group("training").add_argument
    add(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[1, 2, 4, 8],
        help="images per GPU (default: 1 2 4 8)",
    )
    add("--image-size", type=int, help="side in pixels (dataloader.image_size)")
    add(
        "--checkpointing",
        action="store_true",
        help="predict with activation checkpointing, whatever the config says",
    )
    add(
        "--mask-regions",
        type=int,
        help="regions per image in the mask head (default: the largest number)",
    )
    add = parser.add_argument_group("GPUs").add_argument
    add(
        "--memory-gb",
        type=float,
        nargs="+",
        default=[12, 24, 40, 80],
        help="memory of the GPUs to fill, in units of 2**30 bytes (default: 12 24 40 80)",
    )
    add("--num-gpus", type=int, default=1, help="GPUs that train together (default: 1)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, predict, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.memory import run

    return run(args)
