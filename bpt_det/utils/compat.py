"""Compatibility with Detectron2: what 0.6 lacks, and what no version has in public.

Of its unreleased main branch only:

- `LayerNorm2d`: on main, convolutions take the norm by the name "LN".
- `pad_to_square`: on main, a backbone asks for it with ``padding_constraints``.
- `has_detectron2_vitdet`: main has ViTDet's backbone, `DETECTRON2_VIT`, to compare with.

Private in 0.6 and on main:

- `name_of_target`: inverse of the public ``locate``, by which `LazyConfig.save` names classes.

Logged by 0.6 and by main, but not true here:

- `FALSE_ALARMS`: messages that the command line leaves out, each with its reason.
- `describe_environment`: the environment table, whose row of compiled operators misleads.

Three parts of the engine have a counterpart on main too, but do more and so stand elsewhere:
`TestLoader` (``build_detection_test_loader(batch_size=)``: keeps neither samples nor class names),
`Precision` (``AMPTrainer(precision=, grad_scaler=)``: accumulates no gradients) and
`build_param_groups` (``get_default_optimizer_params(lr_factor_func=)``: no decay by shape or head).
"""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.registry import _convert_target_to_string
from torch import Tensor, nn

DETECTRON2_VIT = "detectron2.modeling.backbone.vit"


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a feature map (B, C, H, W), each position by itself.

    What official Detectron2 calls the "LN" norm of a convolution; 0.6 does not know that string,
    so configs name this class. Parameters have the same names. As it is an `nn.LayerNorm`,
    Detectron2's default optimizer groups treat it as a norm.

    Args:
        num_features: C, number of channels.
        eps: added to the variance, in squared units of the input.
    """

    def __init__(self, num_features: int, eps: float = 1e-6) -> None:
        super().__init__(num_features, eps=eps)

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalized map, (B, C, H, W)."""
        channels_last = features.permute(0, 2, 3, 1)
        normalized = F.layer_norm(
            channels_last, self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normalized.permute(0, 3, 1, 2)


def pad_to_square(images: Tensor, side: int) -> Tensor:
    """Zero-pad images (B, C, H, W) at the right and bottom to at least ``side`` in pixels.

    A side that is longer already is left alone.
    """
    height, width = images.shape[-2:]
    right, bottom = max(0, side - width), max(0, side - height)
    return F.pad(images, (0, right, 0, bottom)) if right or bottom else images


def has_detectron2_vitdet() -> bool:
    """Whether the installed Detectron2 has ViTDet's backbone; its release 0.6 has not."""
    return importlib.util.find_spec(DETECTRON2_VIT) is not None


def name_of_target(target: Any) -> str:
    """Return the text that stands for a class or function in a saved config."""
    try:
        return _convert_target_to_string(target)
    except AttributeError:  # an object, as code may put into a config
        return f"{type(target).__module__}.{type(target).__qualname__}"


@dataclass(frozen=True)
class FalseAlarm:
    """A log message that warns of nothing.

    Args:
        logger: name of the logger.
        text: part of the message.
        reason: why it may be left out.
    """

    logger: str
    text: str
    reason: str

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record of the logger is another message."""
        return self.text not in record.getMessage()


FALSE_ALARMS = (
    FalseAlarm(
        "detectron2.data.datasets.coco",
        "Category ids in annotations are not in [1, #categories]!",
        "COCO's own ids have gaps; the mapping that follows is what is wanted",
    ),
    FalseAlarm(
        "torch.utils.cpp_extension",
        "No CUDA runtime is found",
        "imported for the environment table alone; the device is part of a run's summary",
    ),
    FalseAlarm(
        "py.warnings",
        "The given NumPy array is not writable",
        "Detectron2 stacks masks, which copies them; nothing writes into the array",
    ),
    FalseAlarm(
        "py.warnings",
        "torch.meshgrid: in an upcoming release",
        "Detectron2's anchors take the order that is the default of every PyTorch",
    ),
    FalseAlarm(
        "py.warnings",
        "This DataLoader will create",
        "more workers than cores only take turns; their number is a setting of the config",
    ),
    FalseAlarm(
        "py.warnings",
        "TypedStorage is deprecated",
        "Detectron2's exchange of values between processes reads bytes, whose type is one",
    ),
)


def describe_environment() -> str:
    """Return Detectron2's table of the environment.

    It calls a Detectron2 without compiled operators "not built correctly". This package uses none
    of them: those of torchvision do the work. It asks for a compiler, which need not be there.
    """
    missing = "not built correctly: No module named 'detectron2._C'"
    with _no_stderr():
        return collect_env_info().replace(missing, "not built, and not needed by bpt_det")


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Discard what this process and those it starts write to stderr."""
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
