"""Faster inference: backbone and box heads in another number format, compiled, fewer proposals."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from detectron2.modeling.proposal_generator import RPN
from torch import Tensor, nn

from bpt_det.engine.precision import Precision, resolve_precision
from bpt_det.utils.errors import InputError, check_count


def speed_up(
    model: nn.Module, precision: str, *, compile_backbone: bool, proposals: int | None = None
) -> None:
    """Let a detector compute faster, in place.

    In less precision are backbone, pyramid and the layers that the boxes share, which take most of
    the time. RPN, class scores, box offsets and masks stay in float32, so boxes are as exact as the
    features are.

    Args:
        model: in evaluation mode, on its device.
        precision: ``float32``, ``bfloat16``, ``float16``, or ``auto``: as training does.
        compile_backbone: by `torch.compile`; the first image of a size then takes minutes.
        proposals: regions of an image that the heads look at, at most; None: those of the config.

    Raises:
        InputError: the precision is unknown, or the model has no backbone or no proposals.
    """
    if proposals is not None:
        _limit_proposals(model, proposals)
    device = next(model.parameters()).device.type
    chosen = resolve_precision(precision, device)
    if chosen.dtype == torch.float32 and not compile_backbone:
        return
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise InputError(f"a {type(model).__name__} has no backbone to make faster.")
    if compile_backbone:
        backbone.forward = torch.compile(backbone.forward)
    for module in (backbone, *_box_heads(model)):
        module.forward = _in_precision(module.forward, chosen)


def _limit_proposals(model: nn.Module, proposals: int) -> None:
    check_count("proposals", proposals)
    generator = getattr(model, "proposal_generator", None)
    if not isinstance(generator, RPN):
        raise InputError(f"a {type(model).__name__} has no proposals to limit.")
    configured = generator.post_nms_topk[False]
    generator.post_nms_topk = {**generator.post_nms_topk, False: min(proposals, configured)}


def _box_heads(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the box head of each stage, without the layers that predict from it."""
    head = getattr(getattr(model, "roi_heads", None), "box_head", None)
    if isinstance(head, nn.ModuleList):
        yield from head
    elif isinstance(head, nn.Module):
        yield head


def _in_precision(run: Callable, precision: Precision) -> Callable:
    """Return a function that computes in a precision and returns float32."""

    def forward(features: Tensor) -> Any:
        with precision.autocast():
            results = run(features)
        if isinstance(results, Tensor):
            return results.float()
        return {name: values.float() for name, values in results.items()}

    return forward
