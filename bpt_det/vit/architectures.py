"""Vision Transformer sizes as one table, and the function that builds one of them."""

import torch
import torch.nn.functional as F
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from bpt_det.errors import InputError

from .checkpoints import load_mae_weights

# Table 7 of the supplementary of arXiv:2506.22908, and two small ones of ours.
ARCHITECTURES: dict[str, dict[str, int]] = {
    "vit_b": {"embed_dim": 768, "num_blocks": 12, "num_heads": 12, "patch_size": 16},
    "vit_l": {"embed_dim": 1024, "num_blocks": 24, "num_heads": 16, "patch_size": 16},
    "vit_tiny": {"embed_dim": 192, "num_blocks": 12, "num_heads": 3, "patch_size": 16},
    "vit_micro": {"embed_dim": 160, "num_blocks": 6, "num_heads": 4, "patch_size": 8},
}


def build_vit(
    embed_dim: int,
    num_blocks: int,
    num_heads: int,
    patch_size: int,
    *,
    pretrain_size: int = 224,
    mlp_ratio: float = 4.0,
    checkpoint: str | None = None,
    init_seed: int = 0,
) -> VisionTransformer:
    """Build timm's Vision Transformer as MAE uses it: class token, LayerNorm eps 1e-6, no head.

    Without a checkpoint it starts as MAE's encoder does before pre-training
    (facebookresearch/mae models_mae.py): Xavier-uniform weights, sine-cosine positions.

    Args:
        embed_dim: D, token width; a multiple of ``num_heads`` and of 4.
        num_blocks: number of transformer blocks.
        num_heads: attention heads of each block.
        patch_size: side of a patch in pixels.
        pretrain_size: side in pixels of the square images it was pre-trained on; position
            embeddings are stored for this grid and resampled to the image's.
        mlp_ratio: hidden width of the MLP as a multiple of ``embed_dim``.
        checkpoint: official MAE file, path or http(s) address; None leaves random weights.
        init_seed: seed of the random weights. A frozen ViT is not part of a training checkpoint,
            so its random weights must be the same in every process that builds it.

    Raises:
        InputError: sizes do not fit each other, or the checkpoint does not fit them.
    """
    for divisor, name in ((num_heads, "num_heads="), (4, "")):
        if embed_dim % divisor:
            raise InputError(f"embed_dim={embed_dim} is not a multiple of {name}{divisor}.")
    if pretrain_size % patch_size:
        raise InputError(
            f"pretrain_size={pretrain_size} is not a multiple of patch_size={patch_size}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(init_seed)  # torch.manual_seed would reseed GPUs too
        vit = VisionTransformer(
            img_size=pretrain_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=num_blocks,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            num_classes=0,
            global_pool="",
            dynamic_img_size=True,
            weight_init="jax",  # timm's name for Xavier-uniform
        )
        nn.init.normal_(vit.cls_token, std=0.02)
    positions = build_sincos2d_pos_embed(vit.patch_embed.grid_size, embed_dim)
    with torch.no_grad():
        vit.pos_embed.copy_(F.pad(positions, (0, 0, vit.num_prefix_tokens, 0)))
    if checkpoint is not None:
        load_mae_weights(vit, checkpoint)
    return vit
