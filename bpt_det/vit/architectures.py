"""Vision Transformer architectures: a table of sizes, and the function that builds a ViT."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from bpt_det.utils.errors import InputError, check_probability

from .timm_models import PREFIX, build_timm_vit
from .weights import load_weights

# B to 2B: Table 7 of the supplementary of arXiv:2506.22908 (2B: facebookresearch/maws). Tiny and
# Small are DeiT's; MoCo v3's Small has 12 heads. Micro is for tests and trials.
ARCHITECTURES: dict[str, dict[str, int]] = {
    "vit_b": {"embed_dim": 768, "num_blocks": 12, "num_heads": 12, "patch_size": 16},
    "vit_l": {"embed_dim": 1024, "num_blocks": 24, "num_heads": 16, "patch_size": 16},
    "vit_h": {"embed_dim": 1280, "num_blocks": 32, "num_heads": 16, "patch_size": 14},
    "vit_2b": {"embed_dim": 2560, "num_blocks": 24, "num_heads": 32, "patch_size": 14},
    "vit_small": {"embed_dim": 384, "num_blocks": 12, "num_heads": 6, "patch_size": 16},
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
    pretrained_patch_size: int | None = None,
    mlp_ratio: float = 4.0,
    drop_path_rate: float = 0.0,
    checkpoint: str | None = None,
    architecture: str | None = None,
    init_seed: int = 0,
) -> Any:
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
        pretrained_patch_size: side of the patches it was pre-trained on; None: ``patch_size``.
            Another one has the patch embedding resampled and the grid of positions kept, as
            ViTDet-H does: 14 at ``patch_size=16``.
        mlp_ratio: hidden width of the MLP as a multiple of ``embed_dim``.
        drop_path_rate: rate of stochastic depth in the last block, in [0, 1), rising from 0 in
            the first; only a ViT that is trained drops anything.
        checkpoint: pre-trained weights: path or http(s) address of a file in any format of
            `load_weights`; ``bpt_det:NAME``, a file that comes with the package; or ``timm:NAME``:
            then timm decides all that is not a size here (`build_timm_vit`). None: random weights.
        architecture: timm's name, without a tag, of another network that the file is of, such as
            ``vit_base_patch16_dinov3``; None: MAE's. ``timm:NAME`` needs none.
        init_seed: seed of the random weights. A frozen ViT is not part of a training checkpoint,
            so its random weights must be the same in every process that builds it.

    Raises:
        InputError: sizes do not fit each other, or the checkpoint does not fit them.
    """
    check_probability("drop_path_rate", drop_path_rate)
    options: dict[str, Any] = {
        "embed_dim": embed_dim,
        "num_heads": num_heads,
        "patch_size": patch_size,
        "drop_path_rate": drop_path_rate,
    }
    try:
        is_named = checkpoint is not None and checkpoint.startswith(PREFIX)
        if is_named or architecture is not None:
            return build_timm_vit(
                checkpoint,
                architecture,
                num_blocks=num_blocks,
                pretrained_patch_size=pretrained_patch_size,
                init_seed=init_seed,
                **options,
            )
        side = _grid_side(embed_dim, num_heads, pretrain_size, patch_size, pretrained_patch_size)
        options |= {"img_size": side * patch_size, "depth": num_blocks, "mlp_ratio": mlp_ratio}
        if checkpoint is None:
            return _random_vit(init_seed, **options)
        with torch.device("meta"):  # random values would cost a minute at ViT-2B, for nothing
            vit = _plain_vit(**options)
        vit = vit.to_empty(device="cpu")
        load_weights(vit, checkpoint, pretrained_patch_size=pretrained_patch_size)
        return vit
    except InputError as error:
        error.parameter = error.parameter or "checkpoint"
        raise


def _grid_side(
    embed_dim: int,
    num_heads: int,
    pretrain_size: int,
    patch_size: int,
    pretrained_patch_size: int | None,
) -> int:
    """Return the side of the grid of positions, after checking that all sizes fit."""
    for divisor, name in ((num_heads, "num_heads="), (4, "")):
        if embed_dim % divisor:
            raise InputError(
                f"embed_dim={embed_dim} is not a multiple of {name}{divisor}.",
                parameter="embed_dim",
            )
    divisor, name = patch_size, "patch_size"
    if pretrained_patch_size is not None:
        divisor, name = pretrained_patch_size, "pretrained_patch_size"
    if pretrain_size % divisor:
        raise InputError(
            f"pretrain_size={pretrain_size} is not a multiple of {name}={divisor}.",
            parameter="pretrain_size",
        )
    return pretrain_size // divisor


def _random_vit(init_seed: int, **options: Any) -> VisionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(init_seed)  # torch.manual_seed would reseed GPUs too
        vit = _plain_vit(**options)
        assert vit.cls_token is not None and vit.pos_embed is not None
        nn.init.normal_(vit.cls_token, std=0.02)
    positions = build_sincos2d_pos_embed(vit.patch_embed.grid_size, vit.embed_dim)
    with torch.no_grad():
        vit.pos_embed.copy_(F.pad(positions, (0, 0, vit.num_prefix_tokens, 0)))
    return vit


def _plain_vit(**options: Any) -> VisionTransformer:
    return VisionTransformer(
        **options,
        num_classes=0,
        global_pool="",
        dynamic_img_size=True,
        weight_init="jax",  # timm's name for Xavier-uniform
    )
