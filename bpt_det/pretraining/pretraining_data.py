"""Custom data of pre-training: absolute paths, and epochs in iterations."""

from collections.abc import Callable, Sequence
from functools import partial

from omegaconf import DictConfig, OmegaConf

from bpt_det.config.custom_data import chosen_keys
from bpt_det.config.epochs import set_iterations
from bpt_det.utils.errors import InputError

from .image_sets import absolute_source, read_images


def use_pretraining_data(
    cfg: DictConfig, overrides: Sequence[str] = ()
) -> dict[str, Callable[[], list[dict]]]:
    """Fit a pre-training config to the images that its ``data`` names; in place.

    ``data=SOURCE`` on the command line is short for ``data.train=SOURCE``.

    Args:
        cfg: a config with `model.encoder`, `dataloader` and `data`.
        overrides: ``key=value`` that have been applied to it.

    Returns:
        By loader of the config, ``train`` and ``test``: a function that returns its records.
        Loaders of other images are left out.

    Raises:
        InputError: the config is of another task, or its images cannot be found.
    """
    data = cfg.get("data")
    if data is not None and not isinstance(data, DictConfig):
        cfg.data = {"train": str(data), "val": None}
    if OmegaConf.select(cfg, "model.encoder") is None or "train" not in (cfg.get("data") or {}):
        raise InputError(
            "the config pre-trains nothing: it lacks model.encoder or data.train; use one of "
            "pre-training."
        )
    cfg.data.train = absolute_source(cfg.data.train, "data.train")
    if cfg.data.get("val") is not None:
        cfg.data.val = absolute_source(cfg.data.val, "data.val")
    images = read_images(cfg.data.train, cfg.data.val, options=("data.train", "data.val"))
    set_iterations(cfg, f"'{cfg.data.train}'", len(images["train"]), chosen_keys(overrides))
    nodes = {loader: cfg.dataloader[loader].dataset for loader in ("train", "test")}
    return {
        loader: partial(list, images[node.split])
        for loader, node in nodes.items()
        if (node.train, node.val) == (cfg.data.train, cfg.data.val)
    }
