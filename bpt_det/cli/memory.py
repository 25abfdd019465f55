"""Predict the GPU memory that training a detector takes, without a GPU and without weights.

The first table has the memory of one GPU per batch size (images on that GPU), the second the
largest batch that fits each card. Method and measurements: docs/performance/memory.md.

    bpt-det memory --config-file coco/cascade_bpt_s
    bpt-det memory --config-file coco/cascade method=bpt_s vit=vit_h \\
        --checkpointing --batch-sizes 2 4 --image-size 1024 --memory-gb 24 80
"""

import argparse
import math
from collections.abc import Sequence

from omegaconf import DictConfig
from tabulate import tabulate

from bpt_det.benchmark.memory_model import RESERVED_BYTES, RESERVED_SHARE, MemoryModel
from bpt_det.benchmark.variants import find_vit
from bpt_det.config import load_config
from bpt_det.utils.errors import InputError

from .launch import build_tool_parser, check_range, run_tool

_FIELDS = ("weights", "optimizer", "gradients", "vit", "heads", "peak", "total")
_NAMES = {"vit": "saved of ViT", "heads": "saved of heads", "peak": "peak activations"}


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


def estimate_memory(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    _check_arguments(args)
    cfg = load_config(args.config_file, args.opts)
    _fit_config(cfg, args)
    model = MemoryModel(cfg, args.num_gpus)
    print(_describe(model, args), end="\n\n")
    print(_batch_table(model, args), end="\n\n")
    print(_card_table(model, args))


def _fit_config(cfg: DictConfig, args: argparse.Namespace) -> None:
    patch_size = find_vit(cfg).patch_size
    if args.image_size is not None:
        cfg.dataloader.image_size = args.image_size
    size = cfg.dataloader.image_size
    if size < 1 or size % patch_size:
        raise InputError(
            f"--image-size must be a multiple of the patch size {patch_size}, got {size}."
        )
    if args.checkpointing:
        cfg.model.backbone.net.activation_checkpointing = True


def _check_arguments(args: argparse.Namespace) -> None:
    check_range(args, "--batch-sizes")
    check_range(args, "--num-gpus")
    check_range(args, "--mask-regions", least=0)
    for memory in args.memory_gb:
        if not 0 < memory < math.inf:
            raise InputError(f"--memory-gb must be above 0 and finite, got {memory:g}.")


def _describe(model: MemoryModel, args: argparse.Namespace) -> str:
    regions = model.max_mask_regions if args.mask_regions is None else args.mask_regions
    checkpointing = "with" if model.vit.activation_checkpointing else "without"
    precision = "float32" if model.compute_bytes == 4 else "bfloat16 or float16"
    return (
        f"{args.config_file}: images of {model.image_size} pixels, {precision}, {checkpointing} "
        f"activation checkpointing, {regions} regions per image for the mask head, GPUs: "
        f"{args.num_gpus}.\n"
        "Every number is predicted, none measured. A GB of tensors is 10**9 bytes, of a card "
        f"2**30; of a card {RESERVED_BYTES / 1e9:g} GB and {RESERVED_SHARE:.0%} are reserved."
    )


def _batch_table(model: MemoryModel, args: argparse.Namespace) -> str:
    headers = ["batch", *(f"{_NAMES.get(name, name)} (GB, predicted)" for name in _FIELDS)]
    rows = []
    for batch_size in args.batch_sizes:
        estimate = model.estimate(batch_size, args.mask_regions)
        rows.append([batch_size, *(f"{getattr(estimate, name) / 1e9:.3f}" for name in _FIELDS)])
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def _card_table(model: MemoryModel, args: argparse.Namespace) -> str:
    rows = []
    for memory in args.memory_gb:
        batch_size = model.largest_batch(int(memory * 2**30), args.mask_regions)
        taken = f"{model.estimate(batch_size, args.mask_regions).total / 1e9:.3f}"
        rows.append([f"{memory:g}", batch_size or "none", taken if batch_size else ""])
    headers = ["card GB", "largest batch, predicted", "total (GB, predicted)"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, predict, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    return run_tool(lambda: estimate_memory(args), args)
