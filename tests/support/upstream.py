"""Official Detectron2's ViTDet: its configs, which 0.6 lacks, and the names of its weights."""

import pickle
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import LazyCall
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNConvFCHead, FastRCNNOutputLayers
from omegaconf import DictConfig
from torch import nn


def official_config(name: str) -> DictConfig:
    """The model of projects/ViTDet/configs/COCO/{name}_vitdet_b_100ep.py, put together again."""
    try:
        model = model_zoo.get_config("common/models/mask_rcnn_vitdet.py").model
    except RuntimeError as error:
        pytest.skip(f"this Detectron2 was installed without its configs: {error}")
    if name == "mask_rcnn":
        return model
    for key in ("box_head", "box_predictor", "proposal_matcher"):
        model.roi_heads.pop(key)
    model.roi_heads.update(
        _target_=CascadeROIHeads,
        box_heads=[
            LazyCall(FastRCNNConvFCHead)(
                input_shape=ShapeSpec(channels=256, height=7, width=7),
                conv_dims=[256] * 4,
                fc_dims=[1024],
                conv_norm="LN",
            )
            for _ in range(3)
        ],
        box_predictors=[
            LazyCall(FastRCNNOutputLayers)(
                input_shape=ShapeSpec(channels=1024),
                test_score_thresh=0.05,
                box2box_transform=LazyCall(Box2BoxTransform)(weights=weights),
                cls_agnostic_bbox_reg=True,
                num_classes="${...num_classes}",
            )
            for weights in [(10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)]
        ],
        proposal_matchers=[
            LazyCall(Matcher)(thresholds=[iou], labels=[0, 1], allow_low_quality_matches=False)
            for iou in (0.5, 0.6, 0.7)
        ],
    )
    return model


def randomize(model: nn.Module) -> nn.Module:
    """Move every parameter away from 0 and 1, so that none can be left out unseen."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.data += 0.2 * noise
    return model


def vit_shapes(
    embed_dim: int,
    num_blocks: int,
    num_heads: int,
    patch_size: int,
    *,
    grid_size: int,
    pretrain_grid_size: int,
    window_size: int,
    global_blocks: Collection[int],
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of detectron2/modeling/backbone/vit.py's `ViT`; grids are in patches."""
    hidden = 4 * embed_dim
    shapes = {
        "pos_embed": (1, 1 + pretrain_grid_size**2, embed_dim),
        "patch_embed.proj.weight": (embed_dim, 3, patch_size, patch_size),
        "patch_embed.proj.bias": (embed_dim,),
    }
    for index in range(num_blocks):
        side = grid_size if index in global_blocks else window_size
        block = {
            "norm1.weight": (embed_dim,),
            "norm1.bias": (embed_dim,),
            "attn.rel_pos_h": (2 * side - 1, embed_dim // num_heads),
            "attn.rel_pos_w": (2 * side - 1, embed_dim // num_heads),
            "attn.qkv.weight": (3 * embed_dim, embed_dim),
            "attn.qkv.bias": (3 * embed_dim,),
            "attn.proj.weight": (embed_dim, embed_dim),
            "attn.proj.bias": (embed_dim,),
            "norm2.weight": (embed_dim,),
            "norm2.bias": (embed_dim,),
            "mlp.fc1.weight": (hidden, embed_dim),
            "mlp.fc1.bias": (hidden,),
            "mlp.fc2.weight": (embed_dim, hidden),
            "mlp.fc2.bias": (embed_dim,),
        }
        shapes |= {f"blocks.{index}.{name}": shape for name, shape in block.items()}
    return shapes


def detector_shapes(
    net: dict[str, tuple[int, ...]], embed_dim: int, width: int, hidden: int, num_classes: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of cascade_mask_rcnn_vitdet_b around a ViT, with one convolution a head.

    Args:
        net: what `vit_shapes` returns.
        embed_dim: D.
        width: channels of the pyramid and of all convolutions.
        hidden: width of the box heads' linear layer.
        num_classes: without background.
    """
    half, quarter = embed_dim // 2, embed_dim // 4
    shapes = {f"backbone.net.{name}": shape for name, shape in net.items()}
    shapes |= _affine("backbone.simfp_2.0", (embed_dim, half, 2, 2), half)
    shapes |= _affine("backbone.simfp_2.1", (half,), half)
    shapes |= _affine("backbone.simfp_2.3", (half, quarter, 2, 2), quarter)
    shapes |= _affine("backbone.simfp_3.0", (embed_dim, half, 2, 2), half)
    for level, first, channels in ((2, 4, quarter), (3, 1, half), (4, 0, embed_dim)):
        shapes |= _level(f"backbone.simfp_{level}", first, channels, width)
    shapes |= _level("backbone.simfp_5", 1, embed_dim, width)
    rpn = "proposal_generator.rpn_head"
    for index in range(2):
        shapes |= _affine(f"{rpn}.conv.conv{index}", (width, width, 3, 3), width)
    shapes |= _affine(f"{rpn}.objectness_logits", (3, width, 1, 1), 3)
    shapes |= _affine(f"{rpn}.anchor_deltas", (12, width, 1, 1), 12)
    for stage in range(3):
        head, predictor = f"roi_heads.box_head.{stage}", f"roi_heads.box_predictor.{stage}"
        shapes |= _normed(f"{head}.conv1", (width, width, 3, 3))
        shapes |= _affine(f"{head}.fc1", (hidden, width * 7 * 7), hidden)
        shapes |= _affine(f"{predictor}.cls_score", (num_classes + 1, hidden), num_classes + 1)
        shapes |= _affine(f"{predictor}.bbox_pred", (4, hidden), 4)
    mask = "roi_heads.mask_head"
    shapes |= _normed(f"{mask}.mask_fcn1", (width, width, 3, 3))
    shapes |= _affine(f"{mask}.deconv", (width, width, 2, 2), width)
    return shapes | _affine(f"{mask}.predictor", (num_classes, width, 1, 1), num_classes)


def _affine(name: str, weight: tuple[int, ...], bias: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": weight, f"{name}.bias": (bias,)}


def _normed(name: str, weight: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": weight, **_affine(f"{name}.norm", weight[:1], weight[0])}


def _level(name: str, first: int, channels: int, width: int) -> dict[str, tuple[int, ...]]:
    return {
        **_normed(f"{name}.{first}", (width, channels, 1, 1)),
        **_normed(f"{name}.{first + 1}", (width, width, 3, 3)),
    }


def write_model_file(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Write random values as Detectron2's model zoo stores a model, and return them."""
    generator = np.random.default_rng(0)
    state = {}
    for name, shape in shapes.items():
        is_norm_weight = "norm" in name and name.endswith("weight")  # these lie around 1
        noise = generator.standard_normal(shape).astype("float32")
        state[name] = 0.02 * noise + np.float32(is_norm_weight)
    content = {"model": state, "__author__": "Detectron2 Model Zoo"}
    path.write_bytes(pickle.dumps(content))
    return state
