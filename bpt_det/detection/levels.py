"""Pyramid levels of a config: what heads read of a pyramid must be what it gives."""

import math

from omegaconf import DictConfig, OmegaConf

from bpt_det.utils.errors import InputError

_READERS = {  # key of the levels that are read, and of what each of them is taken to be
    "model.proposal_generator.in_features": "model.proposal_generator.anchor_generator.strides",
    "model.roi_heads.box_in_features": "model.roi_heads.box_pooler.scales",
    "model.roi_heads.mask_in_features": "model.roi_heads.mask_pooler.scales",
}
_SCALES = "model.backbone.scale_factors"
_PATCH = "model.backbone.net.vit.patch_size"


def check_levels(cfg: DictConfig) -> None:
    """Check that the levels that heads read are there, and of the strides that they assume.

    Configs of other backbones are left alone.

    Raises:
        InputError: a level is missing or of another stride, as with another patch size.
    """
    patch_size, scales = OmegaConf.select(cfg, _PATCH), OmegaConf.select(cfg, _SCALES)
    if not isinstance(patch_size, int) or patch_size < 1 or not scales:
        return
    strides = [patch_size / scale for scale in scales]
    if any(stride < 1 or math.log2(stride) % 1 for stride in strides):
        return  # the pyramid says what it needs
    levels = {f"p{round(math.log2(stride))}": stride for stride in strides}
    if OmegaConf.select(cfg, "model.backbone.top_block") is not None:
        top = max(levels.values()) * 2
        levels[f"p{round(math.log2(top))}"] = top
    fitting = _fitting(cfg, patch_size)
    advice = (
        f"{_PATCH}={patch_size} with {_SCALES}={list(scales)} gives {', '.join(levels)}; take "
        + (f"{_SCALES}={fitting}, or " if fitting else "")
        + "a ViT of another patch size"
    )
    for key, other in _READERS.items():
        read = OmegaConf.select(cfg, key) or []
        if missing := [level for level in read if level not in levels]:
            raise InputError(f"{key} has {', '.join(missing)}, but {advice}.")
        assumed = OmegaConf.select(cfg, other) or []
        for level, value in zip(read, assumed, strict=False):
            if value not in (levels[level], 1 / levels[level]):
                own = levels[level]
                raise InputError(
                    f"{other} is {value} for {level}, whose stride is {own:g}; {advice}."
                )


def _fitting(cfg: DictConfig, patch_size: int) -> list[float] | None:
    """Return scale factors that give the levels of the heads; None if the pyramid has none."""
    read = OmegaConf.select(cfg, "model.roi_heads.box_in_features") or ["p2"]
    scales = [patch_size / 2 ** int(level.removeprefix("p")) for level in read]
    return scales if set(scales) <= {4.0, 2.0, 1.0, 0.5} else None
