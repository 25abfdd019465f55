"""Fitting a pre-training config to its images: absolute paths, and epochs in iterations."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from bpt_det.data.custom_data import chosen_keys
from bpt_det.engine.epochs import set_iterations
from bpt_det.utils.errors import InputError

from .image_sets import absolute_source, load_images


def use_images(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Fit a pre-training config to the images that its ``data`` names; in place.

    ``data=SOURCE`` on the command line is short for ``data.train=SOURCE``.

    Args:
        cfg: a config with `model.encoder`, `dataloader` and `data`.
        overrides: ``key=value`` that have been applied to it.

    Raises:
        InputError: the config is of another task, or its images cannot be found.
    """
    data = cfg.get("data")
    if data is not None and not isinstance(data, DictConfig):
        cfg.data = {"train": str(data), "val": None}
    if OmegaConf.select(cfg, "model.encoder") is None or "train" not in (cfg.get("data") or {}):
        raise InputError(
            "the config pre-trains nothing: it lacks model.encoder or data.train; use a config "
            "such as configs/shapes/mae_micro.py."
        )
    cfg.data.train = absolute_source(cfg.data.train, "data.train")
    if cfg.data.get("val") is not None:
        cfg.data.val = absolute_source(cfg.data.val, "data.val")
    num_images = len(load_images(cfg.data.train, cfg.data.val))
    set_iterations(cfg, f"'{cfg.data.train}'", num_images, chosen_keys(overrides))
