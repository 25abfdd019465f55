"""Hugging Face's checkpoints of plain ViTs: transformers' ViT, ViTMAE, and DeiT.

Shape legend: D embed_dim.
"""

import re

import torch
from torch import Tensor

from bpt_det.utils.errors import InputError, one_line

_PATCHES = "embeddings.patch_embeddings.projection"
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
# Names of a block after ``encoder.layer.N.``, and timm's after ``blocks.N.``.
_NAMES = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    f"{_PATCHES}.weight": "patch_embed.proj.weight",
    f"{_PATCHES}.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}


def is_hugging_face(state: dict[str, Tensor]) -> bool:
    """Return whether these are the names of a ViT of transformers', and not of its DINOv2."""
    prefix = _prefix_of(state)
    return prefix is not None and f"{prefix}encoder.layer.0.layernorm_before.weight" in state


def convert_hugging_face(state: dict[str, Tensor], location: str) -> dict[str, Tensor]:
    """Return the weights under timm's names; those of no ViT keep theirs.

    Raises:
        InputError: a tensor is missing, or has another number of dimensions.
    """
    prefix = _prefix_of(state) or ""
    vit = {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}
    others = {name: value for name, value in state.items() if not name.startswith(prefix)}
    converted = {}
    for name in list(vit):
        if name in _OUTSIDE:
            converted[_OUTSIDE[name]] = vit.pop(name)
    try:
        for index in sorted({int(m[1]) for name in vit if (m := _LAYER.match(name))}):
            converted |= _convert_block(vit, f"encoder.layer.{index}.", f"blocks.{index}.")
    except (KeyError, RuntimeError) as error:
        reason = one_line(error).strip("'\"")
        raise InputError(
            f"'{location}' does not hold a whole ViT in Hugging Face's layout: {reason}; download "
            "it again."
        ) from error
    # What is left in a block changes what it computes, such as a layer scale.
    left = {_LAYER.sub(r"blocks.\1.", name): value for name, value in vit.items()}
    left = {name.replace("embeddings.", ""): value for name, value in left.items()}
    return {**converted, **left, **others}


def _prefix_of(state: dict[str, Tensor]) -> str | None:
    """Return what stands before the names of the ViT, such as ``vit.``; None: there is none."""
    end = f"{_PATCHES}.weight"
    names = [name for name in state if name == end or name.endswith(f".{end}")]
    return names[0].removesuffix(end) if len(names) == 1 else None


def _convert_block(state: dict[str, Tensor], prefix: str, timm: str) -> dict[str, Tensor]:
    """Take the tensors of a block out of a state, and return them under timm's names."""
    block = {}
    for end in ("weight", "bias"):
        parts = [
            state.pop(f"{prefix}attention.attention.{name}.{end}")
            for name in ("query", "key", "value")  # (D, D) or (D,) each
        ]
        block[f"{timm}attn.qkv.{end}"] = torch.cat(parts)
        for name, new in _NAMES.items():
            block[f"{timm}{new}.{end}"] = state.pop(f"{prefix}{name}.{end}")
    return block
