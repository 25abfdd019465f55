"""Measure how bursty the frozen ViT of a config is, block by block, before and after whitening.

Prints a Markdown table: excess kurtosis of the entries, and the exponent a of the hyper-Laplace
density that fits them, exp(-|x/s|^a). With --picture it also draws Figures 7 and 8 of the paper's
supplementary for every block: the entries of M and of M Xᵀ with logarithmic counts, and of W M and
W M Xᵀ beside them. --checkpoint adds the learned prompts. --groups measures several sets of images,
none of which share one, and prints mean ± standard deviation over them. The ViT is that of the
config, any that it can name:

    bpt-det burstiness --config-file shapes/cascade --images datasets/shapes/val \\
        --picture burstiness.png
    bpt-det burstiness --config-file coco/cascade --images photos \\
        model.backbone.net.vit.checkpoint=timm:vit_base_patch16_224.mae
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("burstiness", __doc__)
    add = parser.add_argument
    add("--config-file", required=True, help="LazyConfig with a ViT")
    add("--checkpoint", help="trained model of this config, for its prompts")
    add("--picture", type=Path, help="PNG file to draw")
    add = parser.add_argument_group("what is measured").add_argument
    add("--images", required=True, help="folder of images, with its subfolders")
    add(
        "--num-images", type=int, default=100, help="number of images, evenly spread (default: 100)"
    )
    add("--groups", type=int, default=1, help="sets the images are dealt to (default: 1)")
    add("--eps", type=float, default=1e-4, help="eps of the whitening (default: 1e-4)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.burstiness import run

    return run(args)
