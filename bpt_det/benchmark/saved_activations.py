"""Saved activations: analytic model of the memory autograd saves under autocast.

Shape legend: B batch, T tokens, D embed_dim.
"""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import nn

from bpt_det.utils.errors import InputError

FLOAT32_BYTES = 4
_INDEX_BYTES = 8
_PRODUCTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class SavedActivations:
    """Follows a tensor through layers and sums in ``total`` the bytes that autograd saves.

    Under autocast on a GPU convolutions and linear layers cast their input and return numbers of
    ``compute_bytes``, LayerNorm casts to float32. A tensor is saved once, and a cast copy of it
    once more. Weights are not included, see `cast_weight_bytes`.

    Args:
        rows: images, or regions of images.
        area: positions per row.
        width: channels per position.
        compute_bytes: bytes of a number in matrix products; 4: no autocast.
        is_saved: whether the tensor is counted elsewhere.
    """

    def __init__(
        self, rows: int, area: int, width: int, compute_bytes: int, *, is_saved: bool = False
    ) -> None:
        self.rows, self.area, self.width = rows, area, width
        self.compute_bytes = compute_bytes
        self.item_bytes = FLOAT32_BYTES
        self.is_saved = is_saved
        self.total = 0

    @property
    def size(self) -> int:
        """Bytes of the tensor as it is now."""
        return self.rows * self.area * self.width * self.item_bytes

    def follow(self, layers: Iterable[nn.Module]) -> "SavedActivations":
        """Go through layers, and the norm and activation inside Detectron2's convolutions.

        Raises:
            InputError: a layer of this type is not modeled.
        """
        for layer in layers:
            if isinstance(layer, nn.Sequential):
                self.follow(layer)
            elif isinstance(layer, _PRODUCTS):
                self._multiply(layer)
            elif isinstance(layer, nn.LayerNorm):
                self._save(FLOAT32_BYTES)
                self.total += self.rows * self.area * 2 * FLOAT32_BYTES  # mean and deviation
                self._return(FLOAT32_BYTES)
            elif isinstance(layer, nn.ReLU) or layer is F.relu:
                self._save(self.item_bytes)
                self.is_saved = True  # it is the output
            elif isinstance(layer, nn.GELU):
                self._save(self.item_bytes)
                self._return(self.item_bytes)
            elif isinstance(layer, nn.MaxPool2d):
                self._save(self.item_bytes)
                self.area //= layer.stride**2
                self._return(self.item_bytes)
                self.total += self.rows * self.area * self.width * _INDEX_BYTES
            elif isinstance(layer, nn.Flatten):
                self.area, self.width = 1, self.area * self.width
                self._return(self.item_bytes)  # a copy, as LayerNorm leaves channels last
            elif not isinstance(layer, nn.Identity | nn.Dropout):
                raise InputError(f"saved activations of {type(layer).__name__} are not modeled.")
        return self

    def _multiply(self, layer: nn.Module) -> None:
        if layer.weight.requires_grad:  # else its weight alone gives the gradient of its input
            self._save(self.compute_bytes)
        if isinstance(layer, nn.ConvTranspose2d):
            self.area *= layer.stride[0] ** 2
        self.width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        self._return(self.compute_bytes)
        inner = (getattr(layer, name, None) for name in ("norm", "activation"))
        self.follow(part for part in inner if part is not None)

    def _save(self, item_bytes: int) -> None:
        if item_bytes != self.item_bytes or not self.is_saved:
            self.total += self.size // self.item_bytes * item_bytes

    def _return(self, item_bytes: int) -> None:
        self.item_bytes, self.is_saved = item_bytes, False


def cast_weight_bytes(module: nn.Module, compute_bytes: int) -> int:
    """Return the bytes of the cast weights that autocast saves for the backward pass."""
    if compute_bytes == FLOAT32_BYTES:
        return 0
    layers = [layer for layer in module.modules() if isinstance(layer, _PRODUCTS)]
    return compute_bytes * sum(p.numel() for x in layers for p in x.parameters(recurse=False))
