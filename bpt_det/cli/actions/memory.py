"""GPU memory of a training, predicted: what `bpt-det memory` does."""

import argparse
import math

from omegaconf import DictConfig
from tabulate import tabulate

from bpt_det.benchmark.memory_model import RESERVED_BYTES, RESERVED_SHARE, MemoryModel
from bpt_det.benchmark.variants import find_vit
from bpt_det.config import load_config
from bpt_det.utils.errors import InputError

from ..launch import check_range, run_tool

_FIELDS = ("weights", "optimizer", "gradients", "vit", "heads", "peak", "total")
_NAMES = {"vit": "saved of ViT", "heads": "saved of heads", "peak": "peak activations"}


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


def run(args: argparse.Namespace) -> int:
    """Predict, and return the exit status."""
    return run_tool(lambda: estimate_memory(args), args)
