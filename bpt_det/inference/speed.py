"""Faster inference: the backbone in another number format, or compiled."""

import torch
from torch import Tensor, nn

from bpt_det.engine.precision import resolve_precision
from bpt_det.utils.errors import InputError


def speed_up(model: nn.Module, precision: str, *, compile_backbone: bool) -> None:
    """Let a detector compute its backbone and pyramid faster, in place.

    RPN, heads and masks stay in float32, so boxes are as exact as the features are.

    Args:
        model: in evaluation mode, on its device.
        precision: ``float32``, ``bfloat16``, ``float16``, or ``auto``: as training does.
        compile_backbone: by `torch.compile`; the first image of a size then takes minutes.

    Raises:
        InputError: the precision is unknown, or the model has no backbone.
    """
    device = next(model.parameters()).device.type
    chosen = resolve_precision(precision, device)
    if chosen.dtype == torch.float32 and not compile_backbone:
        return
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"a {type(model).__name__} has no backbone to make faster.")
    run = torch.compile(backbone.forward) if compile_backbone else backbone.forward

    def forward(images: Tensor) -> dict[str, Tensor]:
        with chosen.autocast():
            maps = run(images)
        return {name: features.float() for name, features in maps.items()}

    backbone.forward = forward  # type: ignore[method-assign]
