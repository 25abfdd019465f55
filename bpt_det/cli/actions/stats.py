"""Token statistics of a config's prompts: what `bpt-det stats` does."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import instantiate
from omegaconf import DictConfig
from torch import Tensor

from bpt_det.config.loading import Datasets, load_config_and_data
from bpt_det.config.tree import find_vit_owner
from bpt_det.data.images import folder_records, read_rgb, spread_evenly
from bpt_det.detection import load_dataset
from bpt_det.engine.precision import resolve_device
from bpt_det.utils.atomic import make_writable
from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import progress_bar
from bpt_det.vit import PromptedViT, TokenStatistics, collect_statistics
from bpt_det.vit.embedding import center_square
from bpt_det.vit.statistics import save_statistics

from ..launch import check_range, run_tool
from ..logs import RESULT
from ..tasks import is_detector, use_data

logger = logging.getLogger(__name__)


def collect(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    for option in ("--num-images", "--token-images", "--batch-size"):
        check_range(args, option)
    cfg, datasets = load_config_and_data(args.config_file, args.opts, use_data)
    output = _output_path(args.output or cfg.train.get("prompt_statistics"))
    model = _prompted_vit(cfg)
    files = _image_files(_records(args.images, cfg, datasets), args.num_images)
    dataset = cfg.dataloader.train.dataset
    preprocessing = {
        "images": args.images or (dataset.names if is_detector(cfg) else dataset.name),
        "image_size": args.image_size or _default_size(cfg, model),
        "pixel_mean": list(cfg.model.pixel_mean),
        "pixel_std": list(cfg.model.pixel_std),
        "input_format": cfg.model.input_format,
    }
    model.grid_size(preprocessing["image_size"], preprocessing["image_size"])
    device = resolve_device(cfg.train.device)
    statistics = collect_statistics(
        model.vit.to(device),
        _batches(files, args.batch_size, preprocessing, device),
        model.needed_statistics,
        num_token_images=args.token_images,
        preprocessing=preprocessing,
    )
    save_statistics(statistics, output)
    _report_spectra(model, statistics)
    blocks = ", ".join(map(str, statistics.blocks))
    logger.log(RESULT, "%d images, blocks %s, see %s", statistics.num_images, blocks, output)


def _default_size(cfg: DictConfig, model: PromptedViT) -> int:
    if is_detector(cfg):
        vit: Any = model.vit
        return vit.patch_embed.img_size[0]
    return cfg.dataloader.image_size


def _report_spectra(model: PromptedViT, statistics: TokenStatistics) -> None:
    """Log the spectrum of each block that is whitened."""
    for index, what in model.needed_statistics.items():
        if what == "second_moment":
            logger.info("Block %d:", index)
            prompt: Any = model.prompts[str(index)]
            prompt.whitening.spectrum(statistics.blocks[index])


def _output_path(output: str | None) -> Path:
    if output is None:
        raise InputError("the config names no statistics file; give one with --output FILE.")
    if Path(output).exists():
        raise InputError(f"--output '{output}' exists; choose another name, or delete it first.")
    make_writable(Path(output).parent, "--output")
    return Path(output)


def _prompted_vit(cfg: DictConfig) -> PromptedViT:
    """Build the frozen ViT of a config and its prompts, whose initial values are not needed."""
    key, owner = find_vit_owner(cfg)
    if owner.get("prompt") is not None:
        model = PromptedViT(instantiate(owner.vit), instantiate(owner.prompt), owner.placement)
        if model.needed_statistics:
            return model
    raise InputError(
        "the prompts of this config need no statistics; choose one whose prompts do, or set "
        f"{key}.prompt.basis_init=whitening or .init=kmeans."
    )


def _records(images: str | None, cfg: DictConfig, datasets: Datasets) -> Sequence[dict]:
    """Return a record of every image of a folder, of a dataset, or of the config's dataset."""
    if images is None:
        read = datasets.get("train")
        return instantiate(cfg.dataloader.train.dataset) if read is None else read()
    if Path(images).is_dir():
        return folder_records(images, recursive=True, option="--images")
    if not is_detector(cfg):
        raise InputError(
            f"--images '{images}' is not a folder; give one, or leave --images out to take the "
            "training data of the config."
        )
    if "/" in images:
        raise InputError(f"--images '{images}' does not exist; give a folder or a dataset.")
    return load_dataset(images, filter_empty=False)


def _image_files(records: Sequence[dict], count: int) -> list[str]:
    """Return the files of ``count`` records, evenly spread."""
    if len(records) < count:
        logger.warning("there are %d images only, not %d", len(records), count)
    return [record["file_name"] for record in spread_evenly(records, count)]


def _batches(
    files: Sequence[str],
    batch_size: int,
    preprocessing: dict,
    device: str,
) -> Iterator[Tensor]:
    """Yield normalized images (B, 3, H, W), with a progress bar over the images."""
    keys = ("image_size", "pixel_mean", "pixel_std", "input_format")
    how = [preprocessing[key] for key in keys]
    with progress_bar(total=len(files), desc="collecting", unit=" images") as progress:
        for start in range(0, len(files), batch_size):
            chosen = files[start : start + batch_size]
            batch = [center_square(read_rgb(file), *how) for file in chosen]
            yield torch.stack(batch).to(device)
            progress.update(len(batch))


def run(args: argparse.Namespace) -> int:
    """Collect the statistics, and return the exit status."""
    return run_tool(lambda: collect(args), args)
