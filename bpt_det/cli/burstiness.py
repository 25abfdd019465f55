"""Measure how bursty the frozen ViT of a config is: kurtosis by block, before and after whitening.

Prints a Markdown table. With --picture it also draws the entries of M and of M Xᵀ in some blocks,
with logarithmic counts, as Figures 7 and 8 of the paper's supplementary do:

    bpt-det burstiness --config-file configs/shapes/cascade.py method=fwhiten_s \\
        --images datasets/shapes/val --picture burstiness.png
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import instantiate
from matplotlib.figure import Figure
from tabulate import tabulate
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.config import load_config
from bpt_det.config.tree import find_vit_owner
from bpt_det.data.images import folder_records, read_rgb, spread_evenly
from bpt_det.prompts import Whitening, query_key_product
from bpt_det.utils.atomic import atomic_write
from bpt_det.vit.analysis import measure_burstiness
from bpt_det.vit.embedding import center_square, embed_images

from .launch import build_tool_parser, check_range, run_tool, show_log

_BATCH_SIZE = 10
_NUM_DRAWN = 4  # blocks of a picture


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("burstiness", __doc__)
    parser.add_argument("--config-file", required=True, help="LazyConfig with a ViT")
    parser.add_argument("--images", required=True, help="folder of images, with its subfolders")
    parser.add_argument("--num-images", type=int, default=100, help="evenly spread (default: 100)")
    parser.add_argument("--eps", type=float, default=1e-4, help="floor of the whitening (1e-4)")
    parser.add_argument("--picture", type=Path, help="PNG file to draw")
    return parser


def measure(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    check_range(args, "--num-images")
    whitening = Whitening(eps=args.eps, floor="drop", scale="none")
    cfg = load_config(args.config_file, args.opts)
    vit = instantiate(find_vit_owner(cfg)[1].vit).eval()
    records = folder_records(args.images, recursive=True, option="--images")
    size = vit.patch_embed.img_size[0]
    step = -1 if cfg.model.input_format == "BGR" else 1
    images = [
        center_square(
            read_rgb(record["file_name"])[:, :, ::step].copy(),
            size,
            cfg.model.pixel_mean,
            cfg.model.pixel_std,
        )
        for record in spread_evenly(records, args.num_images)
    ]
    batches = torch.stack(images).split(_BATCH_SIZE)
    rows = [
        (i, b.product, b.tokens, b.interaction, b.whitened, b.rank, f"{b.condition_number:.0e}")
        for i, b in enumerate(measure_burstiness(vit, batches, whitening))
    ]
    headers = ["block", "M", "X", "M Xᵀ", "W M Xᵀ", f"rank at {args.eps:g}", "condition number"]
    print(f"Excess kurtosis of the entries, {len(images)} images (a Laplace distribution has 3)\n")
    print(tabulate(rows, headers, tablefmt="pipe", floatfmt=".1f", disable_numparse=[6]))
    if args.picture:
        draw_histograms(vit, batches[0], args.picture)


@torch.no_grad()
def draw_histograms(vit: VisionTransformer, images: Tensor, picture: Path) -> None:
    """Draw the entries of M, above, and of M Xᵀ, below, in evenly spread blocks."""
    num_blocks = len(vit.blocks)
    drawn = sorted({round(i * (num_blocks - 1) / (_NUM_DRAWN - 1)) for i in range(_NUM_DRAWN)})
    figure = Figure(figsize=(3 * len(drawn), 5), dpi=100, layout="constrained")
    axes = figure.subplots(2, len(drawn), squeeze=False)
    tokens = embed_images(vit, images)
    for i, block in enumerate(vit.blocks):
        if i in drawn:
            product = query_key_product(block.attn.qkv.weight)
            interaction = block.norm1(tokens).flatten(end_dim=1).double() @ product.T
            column = drawn.index(i)
            for row, values in enumerate((product, interaction)):
                axes[row, column].hist(values.flatten().numpy(), bins=100, log=True)
                axes[row, column].set_title(f"{('M', 'M Xᵀ')[row]}, block {i}")
        tokens = block(tokens)
    axes[0, 0].set_ylabel("entries")
    axes[1, 0].set_ylabel("entries")
    with atomic_write(picture) as partial:
        figure.savefig(partial, format="png")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, and return the exit status."""
    show_log(logging.WARNING)
    args = build_parser().parse_intermixed_args(argv)
    return run_tool(lambda: measure(args), args)
