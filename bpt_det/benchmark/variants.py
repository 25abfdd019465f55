"""Variants of training the same ViT that a benchmark compares, all with random weights.

Shape legend: B batch, N patches, P prompt_length, D embed_dim.
"""

import copy
import importlib
from functools import partial

import torch
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

from bpt_det.detection import PromptedViTBackbone, ViTDetBackbone
from bpt_det.detection.vitdet import last_of_quarters
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.compat import DETECTRON2_VIT, has_detectron2_vitdet
from bpt_det.utils.errors import InputError
from bpt_det.vit import adapt
from bpt_det.vit.embedding import embed_images, grid_size
from bpt_det.vit.prompted_vit import insert_prompts

from .variant_table import BARE, OWN, VARIANTS, Variant

WHY_NO_DETECTRON2_VITDET = f"the installed Detectron2 has no {DETECTRON2_VIT}; its main has."
_WINDOW_SIZE = 14


class BareViT(nn.Module):
    """The blocks of a ViT on its tokens and ``num_more`` further ones in the place of prompts."""

    def __init__(self, vit: nn.Module, num_more: int) -> None:
        super().__init__()
        self.vit = vit.eval().requires_grad_(False)
        self.more = nn.Parameter(torch.randn(1, num_more, vit.embed_dim), requires_grad=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``{"tokens": (B, 1 + N + num_more, D)}`` of images (B, 3, H, W)."""
        *_, height, width = images.shape
        network = adapt(self.vit)
        positions = network.positions(grid_size(network.patch_size, height, width))
        tokens = embed_images(self.vit, images)
        more = self.more.to(tokens.dtype).expand(len(tokens), -1, -1)
        tokens = insert_prompts(tokens, more, network.num_prefix_tokens)
        for index in range(len(network.blocks)):
            tokens = network.run_block(index, tokens, positions, more.shape[1])
        return {"tokens": tokens}


def build_bare_vit(cfg: DictConfig) -> BareViT:
    """Return the ViT of a detection config without anything of ours around its blocks."""
    return BareViT(instantiate(_random_vit(cfg)), VARIANTS[BARE].prompt_length)


def build_detector(cfg: DictConfig, name: str) -> nn.Module:
    """Return the detector of a config with the backbone of a variant, ``backbone.net``.

    Args:
        cfg: a config of detection.
        name: of `VARIANTS`, other than ``bare``.

    Raises:
        InputError: the config has no ViT, or this Detectron2 has no ViTDet.
    """
    cfg = copy.deepcopy(cfg)
    if name == OWN:
        cfg.model.backbone.net.vit = _random_vit(cfg)
    else:
        cfg.model.backbone.net = _backbone_config(cfg, VARIANTS[name])
    return instantiate(cfg.model)


def find_vit(cfg: DictConfig) -> DictConfig:
    """Return the settings of a detection config's ViT.

    Raises:
        InputError: there are none.
    """
    net = cfg.model.get("backbone", {}).get("net")
    if net is None or "vit" not in net:
        raise InputError("the config has no model.backbone.net.vit.", hint="detection_config")
    return net.vit


def _random_vit(cfg: DictConfig) -> DictConfig:
    vit = copy.deepcopy(find_vit(cfg))
    vit.update(checkpoint=None, drop_path_rate=0.0)
    return vit


def _backbone_config(cfg: DictConfig, variant: Variant) -> DictConfig:
    vit = _random_vit(cfg)
    out_feature = cfg.model.backbone.net.get("out_feature", "last_feat")
    size = cfg.dataloader.image_size
    if variant.vitdet == "detectron2":
        net = _detectron2_vitdet(vit, size)
    elif variant.vitdet:
        net = L(ViTDetBackbone)(vit=vit, image_size=size, window_size=_WINDOW_SIZE)
    else:
        net = L(PromptedViTBackbone)(vit=vit, prompt=_prompt(vit, variant), **variant.settings)
    net.out_feature = out_feature
    return net


def _prompt(vit: DictConfig, variant: Variant) -> DictConfig | None:
    if not variant.prompt_length:
        return None
    return L(BilinearPrompt)(
        embed_dim=vit.embed_dim,
        prompt_length=variant.prompt_length,
        rank=min(variant.prompt_length, vit.embed_dim),
    )


def _detectron2_vitdet(vit: DictConfig, image_size: int) -> DictConfig:
    """Return Detectron2's ViT with the settings of its ViTDet-B, at the sizes of ours."""
    if not has_detectron2_vitdet():
        raise InputError(WHY_NO_DETECTRON2_VITDET)
    num_blocks = vit.num_blocks
    whole = last_of_quarters(num_blocks)
    return L(importlib.import_module(DETECTRON2_VIT).ViT)(
        img_size=image_size,
        patch_size=vit.patch_size,
        embed_dim=vit.embed_dim,
        depth=num_blocks,
        num_heads=vit.num_heads,
        drop_path_rate=0.0,
        window_size=_WINDOW_SIZE,
        mlp_ratio=4,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        window_block_indexes=[i for i in range(num_blocks) if i not in whole],
        residual_block_indexes=[],
        use_rel_pos=True,
    )
