"""Encoder file: the encoder alone after a pre-training, in a format that `load_weights` reads."""

import copy
import logging
from collections.abc import Iterable
from pathlib import Path

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from safetensors.torch import save
from timm.models.vision_transformer import VisionTransformer
from torch.nn.parallel import DistributedDataParallel

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError
from bpt_det.vit.analysis import center_last_tokens

logger = logging.getLogger(__name__)

SUFFIXES = (".pth", ".safetensors")


def save_encoder(vit: VisionTransformer, path: str | Path, *, half: bool = False) -> None:
    """Write a ViT as the official MAE encoders are, ``{"model": timm's names}``, or as safetensors.

    Args:
        vit: the encoder.
        path: ``.pth``, or ``.safetensors`` for the tensors under timm's names alone.
        half: float16, half the size; matrices lose all but 11 bits.

    Raises:
        InputError: the suffix is another one, or the file cannot be written.
    """
    check_suffix(path)
    dtype = torch.float16 if half else torch.float32
    state = {k: v.detach().to("cpu", dtype).contiguous() for k, v in vit.state_dict().items()}
    with atomic_write(path) as partial:
        if Path(path).suffix == ".pth":
            torch.save({"model": state}, partial)
        else:
            partial.write_bytes(save(state))


def check_suffix(path: str | Path) -> None:
    """Check that `save_encoder` can write a path.

    Raises:
        InputError: its suffix says so.
    """
    if Path(path).suffix not in SUFFIXES:
        raise InputError(
            f"an encoder is saved as {' or '.join(SUFFIXES)}, but '{Path(path).name}' is neither; "
            "rename it.",
            parameter="path",
        )


class SaveEncoder(HookBase):
    """Writes the encoder of a `MaskedAutoencoder` when training has come to its end.

    Args:
        path: see `save_encoder`; so is ``half``.
        center_on: batches of samples with ``image``; the last tokens of what is saved have a mean
            of 0 over them (`center_last_tokens`). None: saved as it was trained.

    Raises:
        InputError: the path has another suffix.
    """

    def __init__(
        self, path: str, *, half: bool = False, center_on: Iterable[list[dict]] | None = None
    ) -> None:
        check_suffix(path)
        self.path = path
        self.half = half
        self.center_on = center_on

    def after_train(self) -> None:
        """Write it, unless the training was interrupted."""
        is_at_end = self.trainer.is_stopped or self.trainer.iter >= self.trainer.max_iter
        if not is_at_end or not comm.is_main_process():
            return
        model = self.trainer.model
        if isinstance(model, DistributedDataParallel):
            model = model.module
        encoder = model.encoder
        if self.center_on is not None:
            encoder = copy.deepcopy(encoder).eval()
            removed = center_last_tokens(encoder, map(model.normalize, self.center_on))
            logger.info("Subtracted a mean of RMS %.3g from the encoder's last tokens", removed)
        save_encoder(encoder, self.path, half=self.half)
        logger.info("Encoder written to '%s'; give it as a ViT's checkpoint=", self.path)
