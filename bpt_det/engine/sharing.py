"""Shared frozen ViT: one network in several models, each with its own prompts and heads."""

import copy
from functools import partial
from typing import Any

from detectron2.config import instantiate
from omegaconf import DictConfig
from torch import nn

from bpt_det.config.tree import find_vit_owners
from bpt_det.utils.errors import InputError

from .protocols import prompted_networks


def frozen_vit_of(model: nn.Module) -> nn.Module:
    """Return the one frozen ViT inside a model.

    Raises:
        InputError: there is none, or more than one, or it is trained.
    """
    prompted = [network for _, network in prompted_networks(model)]
    if len(prompted) != 1:
        raise InputError(f"a ViT can be shared by a model that has one; this has {len(prompted)}.")
    if not prompted[0].frozen:
        raise InputError(
            "the model's ViT is trained (frozen=False), so it is not the same in another model "
            "and cannot be shared; load the other model without share_vit_of."
        )
    return prompted[0].vit


def build_around(vit: nn.Module, cfg: DictConfig) -> nn.Module:
    """Build the model of a config around a ViT that is in memory already.

    Args:
        vit: takes the place of what the config's only ``vit`` would build.
        cfg: config with `model`; left as it is.

    Raises:
        InputError: the config has no ``vit`` or several, trains it, or does not use it as it is.
    """
    cfg = copy.deepcopy(cfg)
    owners = [node for _, node in find_vit_owners(cfg)]
    if len(owners) != 1:
        raise InputError(f"a shared ViT needs a config with one `vit`; this has {len(owners)}.")
    if not owners[0].get("frozen", True):
        raise InputError(
            "the config trains its ViT (frozen=False), which would change it in the model that "
            "shares it; load this model without share_vit_of."
        )
    # Only the target is replaced: other parts of the config interpolate from the ViT's sizes.
    owners[0].vit["_target_"] = partial(_take_shared, vit)
    model = instantiate(cfg.model)
    if all(module is not vit for module in model.modules()):
        raise InputError(
            "the config's model makes a ViT of its own from the shared one; load this model "
            "without share_vit_of."
        )
    return model


def merge_tuning(model: nn.Module) -> None:
    """Merge what LoRA or SSF has tuned into the ViT of a trained model, in place, for inference.

    The model gets a ViT of its own, without further layers, and its outputs stay the same up to
    rounding. Its checkpoint no longer fits it. Without tuning nothing happens.

    Args:
        model: in evaluation mode, as that of a `Predictor`.

    Raises:
        InputError: the method cannot be merged, or its dropout is on.
    """
    for _, network in prompted_networks(model):
        network.merge_tuning()


def _take_shared(shared: nn.Module, **arguments: Any) -> nn.Module:
    """Return the shared ViT for the arguments that the config's own would be built with."""
    return shared
