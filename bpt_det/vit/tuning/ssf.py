"""SSF: a scale and a shift of the features after each operation of a block.

Shape legend: D embed_dim.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpt_det.utils.errors import InputError

from .linears import Linear, attention_linears, mlp_linears, part_of, plain_linear
from .method import Parts, TuningMethod

_NORMS = ("norm1", "norm2")
_STD = 0.02  # of the initial scales around 1 and shifts around 0


class SSF(TuningMethod):
    """Scale and shift after each norm and each linear layer of a block: ``scale * y + shift``.

    Source: Lian et al., arXiv:2210.08823; initial values and places as dongzelian/SSF@0135361
    models/vision_transformer.py. There the patch embedding and the final norm have theirs too, 4 D
    more; here they have none, as tuning is placed in blocks.
    Trained parameters: 2 * outputs of each norm and each layer. In a block of a plain ViT with an
    MLP of 4 D: 22 D. ViT-B, all 12 blocks: 202,752.

    Args:
        placement: the blocks, see `resolve_placement`.
    """

    has_weight_decay = False

    def build(self, block: Any) -> nn.Module:
        """Return scale and shift of each norm and layer, by its name."""
        sizes = {name: _norm_of(block, name).weight.numel() for name in _NORMS}
        sizes |= {layer.name: layer.module.out_features for layer in _linears(block)}
        return nn.ModuleDict({_key(name): ScaleShift(size) for name, size in sizes.items()})

    def replace(self, block: Any, trained: Any) -> Parts:
        """Return scaled linear layers, and scaled parameters of norms."""
        parts = self._norm_parameters(block, trained)
        for layer in _linears(block):
            parts |= {layer.name: _Scaled(layer, trained[_key(layer.name)])} | layer.others
        return parts

    def merge(self, block: Any, trained: Any) -> Parts:
        """Return linear layers and parameters of norms that have scale and shift in them."""
        parts: Parts = {
            name: nn.Parameter(value.detach(), requires_grad=False)
            for name, value in self._norm_parameters(block, trained).items()
        }
        for layer in _linears(block):
            change = trained[_key(layer.name)]
            weight = change.scale[:, None] * layer.module.weight
            bias = change.shift if layer.bias is None else change(layer.bias)
            parts |= {layer.name: plain_linear(weight, bias)} | layer.others
        return parts

    def _norm_parameters(self, block: Any, trained: Any) -> Parts:
        parts: Parts = {}
        for name in _NORMS:
            norm, change = _norm_of(block, name), trained[_key(name)]
            parts[f"{name}.weight"] = change.scale * norm.weight
            parts[f"{name}.bias"] = change(norm.bias)
        return parts


class ScaleShift(nn.Module):
    """A scale and a shift of each channel, (outputs,) each."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(size))
        self.shift = nn.Parameter(torch.empty(size))
        nn.init.normal_(self.scale, mean=1.0, std=_STD)
        nn.init.normal_(self.shift, std=_STD)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (..., outputs) scaled and shifted, in their dtype."""
        return features * self.scale.to(features.dtype) + self.shift.to(features.dtype)


class _Scaled(nn.Module):
    """A linear layer with a scale and a shift behind it."""

    def __init__(self, layer: Linear, change: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.change = change

    def forward(self, tokens: Tensor) -> Tensor:
        return self.change(F.linear(tokens, self.layer.module.weight, self.layer.bias))


def _linears(block: Any) -> Iterator[Linear]:
    of_attention = {layer.name: layer for layer, _ in attention_linears(block).values()}
    yield from of_attention.values()
    yield from mlp_linears(block)


def _norm_of(block: Any, name: str) -> nn.LayerNorm:
    norm = part_of(block, name)
    if not isinstance(norm, nn.LayerNorm) or norm.bias is None:
        raise InputError(
            f"SSF shifts the LayerNorms of a block, but {name} of this ViT is a "
            f"{type(norm).__name__} without a bias; use LoRA, AdaptFormer or BitFit.",
            parameter="tuning",
        )
    return norm


def _key(name: str) -> str:
    return name.replace(".", "_")
