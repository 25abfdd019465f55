"""Burstiness of the tokens of a ViT: what `bpt-det burstiness` does."""

import argparse
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import torch
from detectron2.config import instantiate
from matplotlib.figure import Figure
from omegaconf import DictConfig
from tabulate import tabulate

from bpt_det.config import load_config
from bpt_det.config.tree import find_vit_owner
from bpt_det.data.images import folder_records, read_rgb, spread_evenly
from bpt_det.engine.protocols import prompted_networks
from bpt_det.engine.run import load_trained_model
from bpt_det.prompts import Whitening
from bpt_det.utils.errors import InputError
from bpt_det.visualization.figures import save_figure
from bpt_det.visualization.histograms import Panel, draw_histograms
from bpt_det.vit import PromptedViT
from bpt_det.vit.analysis import Burstiness, Entries, describe_entries, measure_burstiness
from bpt_det.vit.distribution_fits import HyperLaplace, fit_hyper_laplace, fit_laplace
from bpt_det.vit.embedding import center_square

from ..launch import check_range, run_tool

_BATCH_SIZE = 10
# Title by the field of `Burstiness` that is drawn.
_DRAWN = {
    "product": "$M = W_q W_k^T$",
    "whitened_product": "$W M$, whitened",
    "interaction": "$M X^T$",
    "whitened": "$W M X^T$, whitened",
}


def measure(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    check_range(args, "--num-images")
    check_range(args, "--groups")
    whitening = Whitening(eps=args.eps, floor="drop", scale="none")
    cfg = load_config(args.config_file, args.opts)
    vit, prompts = _load(cfg, args.checkpoint)
    images = _read_images(args, cfg.model, vit.patch_embed.img_size[0])
    groups = [
        measure_burstiness(vit, torch.stack(images[i :: args.groups]).split(_BATCH_SIZE), whitening)
        for i in range(args.groups)
    ]
    print(f"Excess kurtosis of the entries, {len(images)} images (a Laplace distribution has 3),")
    print("and exponent a of the hyper-Laplace density that fits them (Laplace: 1, Gaussian: 2)")
    if args.groups > 1:
        print(f"Mean ± standard deviation over {args.groups} sets of them")
    print("\n" + format_table(groups, args.eps))
    for index, entries in prompts.items():
        a = _exponent(entries)
        print(f"\nprompts of block {index}: excess kurtosis {entries.kurtosis:.1f}, a {a:.2f}")
    if args.picture:
        figure = draw_burstiness(groups[0], prompts)
        save_figure(figure, args.picture)


def format_table(groups: Sequence[Sequence[Burstiness]], eps: float) -> str:
    """Return a Markdown table with a row for each block: mean ± standard deviation over groups.

    Args:
        groups: of `measure_burstiness`, with different images each.
        eps: floor of the whitening, for the title of a column.
    """
    rows = [
        (index, *(_spread(values) for values in zip(*map(_figures, blocks), strict=True)))
        for index, blocks in enumerate(zip(*groups, strict=True))
    ]
    headers = ["block", "M", "X", "M Xᵀ", "W M Xᵀ", f"rank at {eps:g}", "condition number"]
    headers += ["a of M", "a of M Xᵀ", "a of W M Xᵀ"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def _figures(block: Burstiness) -> list[tuple[float, str]]:
    """Return the figures of a block, each with its format."""
    kurtoses = [
        e.kurtosis for e in (block.product, block.tokens, block.interaction, block.whitened)
    ]
    exponents = [_exponent(e) for e in (block.product, block.interaction, block.whitened)]
    return [
        *((kurtosis, ".1f") for kurtosis in kurtoses),
        (block.rank, ".0f"),
        (block.condition_number, ".0e"),
        *((exponent, ".2f") for exponent in exponents),
    ]


def _spread(figures: Sequence[tuple[float, str]]) -> str:
    values, (style, *_) = zip(*figures, strict=True)
    mean = fmean(values)
    deviation = stdev(values) if len(values) > 1 else 0
    is_seen = float(f"{deviation:{style}}") and f"{mean + deviation:{style}}" != f"{mean:{style}}"
    return f"{mean:{style}} ± {deviation:{style}}" if is_seen else f"{mean:{style}}"


def draw_burstiness(
    blocks: Sequence[Burstiness], prompts: Mapping[int, Entries] | None = None
) -> Figure:
    """Return a figure with a row for each block: M and M Xᵀ, before and after whitening.

    Each histogram has the Laplace and the hyper-Laplace density of the greatest likelihood.

    Args:
        blocks: of `measure_burstiness`.
        prompts: entries of learned prompts by block index, drawn in a last column.
    """
    titles = [*_DRAWN.values(), *(["learned prompts"] if prompts else [])]
    rows: dict[str, list[Panel | None]] = {}
    for index, block in enumerate(blocks):
        row: list[Panel | None] = [_panel(getattr(block, name)) for name in _DRAWN]
        if prompts:
            row.append(_panel(prompts[index]) if index in prompts else None)
        rows[f"block {index}"] = row
    return draw_histograms(rows, titles)


def prompt_entries(network: PromptedViT) -> dict[int, Entries]:
    """Return the entries of a network's prompts by block index.

    Raises:
        InputError: the prompts depend on the image.
    """
    prompts: dict[str, Any] = dict(network.prompts.items())
    if not all(prompt.ignores_image for prompt in prompts.values()):
        raise InputError(
            "prompts that depend on the image have no entries of their own; leave the checkpoint "
            "out, or take one with prompts that ignore it."
        )
    return {int(index): describe_entries(prompt(1)) for index, prompt in prompts.items()}


def _read_images(args: argparse.Namespace, model: DictConfig, size: int) -> list[torch.Tensor]:
    """Return the central squares of evenly spread images, normalized, (3, size, size) each."""
    records = folder_records(args.images, recursive=True, option="--images")
    chosen = spread_evenly(records, args.num_images)
    if len(chosen) < args.groups:
        raise InputError(
            f"--groups {args.groups} is more than the {len(chosen)} images; give at most as many."
        )
    how = (size, model.pixel_mean, model.pixel_std, model.input_format)
    return [center_square(read_rgb(record["file_name"]), *how) for record in chosen]


def _panel(entries: Entries) -> Panel:
    note = f"kurtosis {entries.kurtosis:.1f}"
    fit = _fit(entries)
    if fit is None:
        return Panel(entries.sample, note=note)
    densities = {"Laplace": fit_laplace(entries.sample).density, "hyper-Laplace": fit.density}
    return Panel(entries.sample, densities, f"{note}\na = {fit.exponent:.2f}")


def _fit(entries: Entries) -> HyperLaplace | None:
    try:
        return fit_hyper_laplace(entries.sample)
    except InputError:  # all entries are equal: weights of 0
        return None


def _exponent(entries: Entries) -> float:
    fit = _fit(entries)
    return float("nan") if fit is None else fit.exponent


def _load(cfg: DictConfig, checkpoint: str | None) -> tuple[Any, dict[int, Entries]]:
    """Return the frozen ViT of a config, and the entries of the prompts in a checkpoint."""
    if checkpoint is None:
        return instantiate(find_vit_owner(cfg)[1].vit).eval(), {}
    cfg.train.device = "cpu"
    model = load_trained_model(cfg, checkpoint)
    networks: list[Any] = [network for _, network in prompted_networks(model)]
    if len(networks) != 1:
        raise InputError(
            f"--checkpoint '{checkpoint}' is of a model with {len(networks)} prompted ViTs, not 1; "
            "leave it out."
        )
    if networks[0].tuning is not None:
        raise InputError(
            f"--checkpoint '{checkpoint}' is of a ViT that {networks[0].tuning.name} tunes, but "
            "the measures are of frozen weights; leave it out, or give one with prompts alone."
        )
    return networks[0].vit, prompt_entries(networks[0])


def run(args: argparse.Namespace) -> int:
    """Measure, and return the exit status."""
    return run_tool(lambda: measure(args), args)
