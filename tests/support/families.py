"""Small networks of timm's `Eva`, with the settings of each pre-training and random weights.

All are of about ten thousand parameters, 24 x 24 pixels, patches of 4, and differ from each other
in what the families differ in.
"""

from functools import partial
from typing import Any

import torch
from timm.layers import LayerNorm, RmsNorm
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

_SIZES: dict[str, Any] = {
    "img_size": 24,
    "patch_size": 4,
    "embed_dim": 24,
    "depth": 5,
    "num_heads": 3,
    "num_classes": 0,
    "global_pool": "",
    "dynamic_img_size": True,
}
# The arguments of timm 1.0.31 timm/models/eva.py and vision_transformer.py, without the sizes.
_DINOV3 = {
    "qkv_bias": False,
    "init_values": 0.3,
    "rope_type": "dinov3",
    "rope_temperature": 100,
    "use_rot_pos_emb": True,
    "use_abs_pos_emb": False,
    "rope_rotate_half": True,
    "num_reg_tokens": 4,
    "use_fc_norm": False,
    "norm_layer": partial(LayerNorm, eps=1e-5),
}
_PE = {
    "attn_type": "rope",
    "use_pre_transformer_norm": True,
    "use_rot_pos_emb": True,
    "ref_feat_shape": (6, 6),
    "rope_grid_offset": 1.0,
    "rope_grid_indexing": "xy",
    "norm_layer": partial(LayerNorm, eps=1e-5),
}
_EVA02 = {
    "mlp_ratio": 4 * 2 / 3,
    "swiglu_mlp": True,
    "use_rot_pos_emb": True,
    "ref_feat_shape": (4, 4),
}
_ROPE = {
    "attn_type": "rope",
    "init_values": 0.3,
    "use_abs_pos_emb": False,
    "use_rot_pos_emb": True,
    "rope_grid_indexing": "xy",
    "rope_temperature": 10.0,
}
EVA: dict[str, dict[str, Any]] = {
    "dinov3": _DINOV3,
    "dinov3_7b": {
        **_DINOV3,
        "swiglu_mlp": True,
        "swiglu_align_to": 8,
        "qkv_bias": True,
        "rope_type": "dinov3",
    },
    "eva02_small": _EVA02,
    "eva02_base": {**_EVA02, "qkv_fused": False, "scale_mlp": True, "scale_attn_inner": True},
    "eva_giant": {},  # absolute positions only
    "eva02_enormous": {"use_post_norm": True},
    "pe_core": _PE,
    "pe_spatial": {**_PE, "use_post_transformer_norm": False, "init_values": 0.1},
    "pe_spatial_gigantic": {**_PE, "class_token": False, "use_post_transformer_norm": False},
    "rope": {**_ROPE, "rope_type": "cat"},
    "rope_mixed": {**_ROPE, "rope_type": "mixed"},
    "rope_mixed_ape": {
        **_ROPE,
        "rope_type": "mixed",
        "use_abs_pos_emb": True,
        "no_embed_class": True,
    },
    "rope_reg": {
        "init_values": 0.3,
        "class_token": False,
        "num_reg_tokens": 2,
        "use_rot_pos_emb": True,
        "use_abs_pos_emb": False,
        "ref_feat_shape": (6, 6),
    },
    "sapiens2": {
        **_DINOV3,
        "attn_type": "rope",
        "qkv_fused": False,
        "qk_norm": True,
        "num_kv_heads": (3, 1, 3, 1, 1),
        "attn_only_layer_scale": True,
        "norm_layer": partial(RmsNorm, eps=1e-6),
    },
}
VIT: dict[str, dict[str, Any]] = {
    "mae": {},
    "dinov2": {"init_values": 0.3, "reg_tokens": 4, "no_embed_class": True},
    "siglip": {"class_token": False},
    "clip": {"pre_norm": True},
}
FAMILIES = (*VIT, *EVA)


def small_network(family: str, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    """Build a network of a family, none of whose parameters is at its initial 0 or 1."""
    make, settings = (Eva, EVA) if family in EVA else (VisionTransformer, VIT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        vit = make(**{**_SIZES, **settings[family], **changes}).requires_grad_(False)
        for parameter in vit.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    return vit.to(dtype).eval()


def images_of_size(height: int, width: int) -> Tensor:
    """Return two random images, (2, 3, height, width)."""
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


class ToyNetwork(nn.Module):
    """Four mixing layers that are no transformer, as someone from outside would bring them.

    Positions are a number for each patch, which each block adds; prompts get none.
    """

    embed_dim, patch_size, num_prefix_tokens = 6, 5, 2

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.patches = nn.Conv2d(3, self.embed_dim, self.patch_size, self.patch_size)
            self.prefix = nn.Parameter(torch.randn(1, self.num_prefix_tokens, self.embed_dim))
            self.blocks = nn.ModuleList(nn.Linear(self.embed_dim, self.embed_dim) for _ in range(4))
        self.norm = nn.LayerNorm(self.embed_dim)

    def embed(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.prefix.expand(len(images), -1, -1), patches], dim=1)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        return torch.linspace(0, 1, grid[0] * grid[1]).unsqueeze(1)

    def run_block(self, index: int, tokens: Tensor, positions: Tensor, num_prompts: int) -> Tensor:
        first = self.num_prefix_tokens + num_prompts
        patches = tokens[:, first:] + positions.to(tokens)
        tokens = torch.cat([tokens[:, :first], patches], dim=1)
        return tokens + torch.tanh(self.blocks[index](tokens.mean(dim=1, keepdim=True) + tokens))
