"""What follows from naming ``timm:NAME``: sizes, and the normalization of the images."""

import logging
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from bpt_det.utils.errors import InputError
from bpt_det.vit.timm_models import PREFIX, pixels_of, sizes_of

from .custom_data import chosen_keys
from .tree import find_vit_owners

logger = logging.getLogger(__name__)

_SIZES = ("embed_dim", "num_blocks", "num_heads")
_PIXELS = ("pixel_mean", "pixel_std")


def use_pretraining(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Fit a config in place to the network of timm's that an override names as its checkpoint.

    Sizes, ``pixel_mean`` and ``pixel_std`` become those of the pre-training unless they are set
    too. Patches of a detector are resampled to the size that its pyramid is for; those of a
    classifier keep theirs. A config that itself names a network stays as it is, with a warning
    where its images are normalized in another way.

    Args:
        cfg: the config.
        overrides: ``key=value`` that have been applied to it.

    Raises:
        InputError: timm has no such network, or it cannot be prompted.
    """
    chosen = chosen_keys(overrides)
    for owner, node in find_vit_owners(cfg):
        location = node.vit.get("checkpoint")
        if not isinstance(location, str) or not location.startswith(PREFIX):
            continue
        key = f"{owner}.vit"
        try:
            pixels = pixels_of(location)
            if f"{key}.checkpoint" in chosen:
                _fit(cfg, key, sizes_of(location), chosen)
        except InputError as error:
            error.parameter = error.parameter or "checkpoint"
            raise
        if f"{key}.checkpoint" in chosen:
            for name, values in zip(_PIXELS, pixels, strict=True):
                if name in cfg.model and f"model.{name}" not in chosen:
                    OmegaConf.update(cfg, f"model.{name}", values, merge=False)
        elif not chosen.intersection(f"model.{name}" for name in _PIXELS):
            _warn_of_pixels(cfg, location, pixels)


def _fit(cfg: DictConfig, key: str, sizes: dict[str, Any], chosen: set[str]) -> None:
    vit: Any = OmegaConf.select(cfg, key)
    if "architecture" in vit:  # of random weights in place of these, as for a benchmark
        vit.architecture = vit.checkpoint.removeprefix(PREFIX).partition(".")[0]
    for name in _SIZES:
        if f"{key}.{name}" not in chosen:
            vit[name] = sizes[name]
    if f"{key}.patch_size" not in chosen and not key.endswith(".net.vit"):
        vit.patch_size = sizes["patch_size"]
    if f"{key}.pretrained_patch_size" not in chosen:
        is_resampled = vit.patch_size != sizes["patch_size"]
        vit.pretrained_patch_size = sizes["patch_size"] if is_resampled else None


def _warn_of_pixels(cfg: DictConfig, location: str, pixels: Sequence[list[float]]) -> None:
    for name, values in zip(_PIXELS, pixels, strict=True):
        own = cfg.model.get(name)
        if isinstance(own, ListConfig) and any(
            abs(a - b) > 0.1 for a, b in zip(own, values, strict=True)
        ):
            logger.warning(
                "model.%s is %s, but '%s' was trained with %s", name, list(own), location, values
            )
