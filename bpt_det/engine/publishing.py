"""Published checkpoints: what a trained model needs of a run's file, and nothing else."""

from pathlib import Path

import torch
from torch import Tensor

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError

from .checkpoint import CATEGORY_IDS, CLASS_NAMES, SETTINGS, read_checkpoint

_LARGE = 1_000_000  # entries of a matrix that is stored in 8 bits
_MAX_ERROR = 0.05  # of it then: root mean square, relative to that of its entries


def publish_checkpoint(source: str, target: str | Path, *, compact: bool = False) -> None:
    """Write the trained weights of a checkpoint, its class names and its ViT's fingerprint.

    Left out are the optimizer, averages of weights, and the state of the run, so training cannot be
    resumed from the file.

    Args:
        source: checkpoint of a run.
        target: file to make.
        compact: store weights as float16, and matrices of a million entries or more as 8-bit floats
            (e4m3) where that changes them by 5 % or less. They are loaded as float32. Evaluate the
            file: it is another model, if only by a little.

    Raises:
        InputError: ``source`` is no checkpoint of this project, or holds a weight too large for
            float16, or ``target`` exists or cannot be written.
    """
    content = read_checkpoint(source)
    if "frozen" not in content:
        raise InputError(f"'{source}' is a file of Detectron2's; give one of a run's model_*.pth.")
    if Path(target).exists():
        raise InputError(f"'{target}' exists; choose another name, or delete it first.")
    state = content["model"]
    if compact:
        state = {name: _compact(value, name, source) for name, value in state.items()}
    keys = ("frozen", CLASS_NAMES, CATEGORY_IDS, SETTINGS)
    kept = {key: content[key] for key in keys if key in content}
    with atomic_write(target) as partial:
        torch.save({"model": state, **kept}, partial)


def _compact(value: Tensor, name: str, source: str) -> Tensor:
    if not value.is_floating_point():
        return value
    if value.dim() == 2 and value.numel() >= _LARGE:
        small = value.to(torch.float8_e4m3fn)
        if (small.float() - value).norm() <= _MAX_ERROR * value.norm():  # no if NaN
            return small
    half = value.half()
    if not torch.isfinite(half).all():
        raise InputError(f"'{source}': {name} is too large for float16; write it without compact.")
    return half
