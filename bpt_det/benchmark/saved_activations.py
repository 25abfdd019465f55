"""What autograd keeps of a tensor's way through layers under autocast, by calculation.

Shape legend: B batch, T tokens, D embed_dim.
"""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import nn

from bpt_det.utils.errors import InputError

FLOAT32_BYTES = 4
_INDEX_BYTES = 8
_PRODUCTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class KeptBytes:
    """Follows a tensor through layers and adds up what autograd keeps of it in ``total``.

    As autocast has it on a GPU: convolutions and linear layers cast their input and return
    ``compute_bytes`` a number, LayerNorm casts to float32. What a layer has kept already is not
    kept twice, a cast copy is. Weights are not in it, see `cast_weight_bytes`.

    Args:
        rows: images, or regions of images.
        area: positions of a row.
        width: numbers of a position.
        compute_bytes: of a number in matrix products; 4: no autocast.
        is_kept: whether the tensor is counted elsewhere.
    """

    def __init__(
        self, rows: int, area: int, width: int, compute_bytes: int, *, is_kept: bool = False
    ) -> None:
        self.rows, self.area, self.width = rows, area, width
        self.compute_bytes = compute_bytes
        self.item_bytes = FLOAT32_BYTES
        self.is_kept = is_kept
        self.total = 0

    @property
    def size(self) -> int:
        """Bytes of the tensor as it is now."""
        return self.rows * self.area * self.width * self.item_bytes

    def follow(self, layers: Iterable[nn.Module]) -> "KeptBytes":
        """Go through layers, and the norm and activation inside Detectron2's convolutions.

        Raises:
            InputError: it is not known what a layer keeps.
        """
        for layer in layers:
            if isinstance(layer, nn.Sequential):
                self.follow(layer)
            elif isinstance(layer, _PRODUCTS):
                self._multiply(layer)
            elif isinstance(layer, nn.LayerNorm):
                self._keep(FLOAT32_BYTES)
                self.total += self.rows * self.area * 2 * FLOAT32_BYTES  # mean and deviation
                self._become(FLOAT32_BYTES)
            elif isinstance(layer, nn.ReLU) or layer is F.relu:
                self._keep(self.item_bytes)
                self.is_kept = True  # it is the output
            elif isinstance(layer, nn.GELU):
                self._keep(self.item_bytes)
                self._become(self.item_bytes)
            elif isinstance(layer, nn.MaxPool2d):
                self._keep(self.item_bytes)
                self.area //= layer.stride**2
                self._become(self.item_bytes)
                self.total += self.rows * self.area * self.width * _INDEX_BYTES
            elif isinstance(layer, nn.Flatten):
                self.area, self.width = 1, self.area * self.width
                self._become(self.item_bytes)  # a copy, as LayerNorm leaves channels last
            elif not isinstance(layer, nn.Identity | nn.Dropout):
                raise InputError(f"it is not known what a layer {type(layer).__name__} keeps.")
        return self

    def follow_block(self, block: nn.Module) -> "KeptBytes":
        """Go through a block of timm's ViT with fused attention, tokens (B, T, D)."""
        self.follow([block.norm1, block.attn.qkv])
        self._keep(self.item_bytes)  # queries, keys, values
        self.width //= 3
        self._become(self.item_bytes)
        self._keep(self.item_bytes)  # what attention returns
        self.is_kept = True
        self.total += (
            self.rows * self.area * block.attn.num_heads * FLOAT32_BYTES
        )  # log of its sums
        self.follow([block.attn.proj])
        self._become(FLOAT32_BYTES)  # added to the residual stream, which is float32
        self.follow([block.norm2, block.mlp.fc1, block.mlp.act, block.mlp.fc2])
        self._become(FLOAT32_BYTES)
        return self

    def _multiply(self, layer: nn.Module) -> None:
        if layer.weight.requires_grad:  # else its weight alone gives the gradient of its input
            self._keep(self.compute_bytes)
        if isinstance(layer, nn.ConvTranspose2d):
            self.area *= layer.stride[0] ** 2
        self.width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        self._become(self.compute_bytes)
        inner = (getattr(layer, name, None) for name in ("norm", "activation"))
        self.follow(part for part in inner if part is not None)

    def _keep(self, item_bytes: int) -> None:
        if item_bytes != self.item_bytes or not self.is_kept:
            self.total += self.size // self.item_bytes * item_bytes

    def _become(self, item_bytes: int) -> None:
        self.item_bytes, self.is_kept = item_bytes, False


def cast_weight_bytes(module: nn.Module, compute_bytes: int) -> int:
    """Return the bytes of the copies that autocast makes of weights and keeps for the backward."""
    if compute_bytes == FLOAT32_BYTES:
        return 0
    layers = [layer for layer in module.modules() if isinstance(layer, _PRODUCTS)]
    return compute_bytes * sum(p.numel() for x in layers for p in x.parameters(recurse=False))
