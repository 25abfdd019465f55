"""Reconstruction evaluator: loss and picture of images that a masked autoencoder fills in."""

import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import Tensor

from bpt_det.utils.atomic import optional_write
from bpt_det.utils.errors import InputError
from bpt_det.visualization.sheet import Sheet

logger = logging.getLogger(__name__)

PICTURE_NAME = "reconstructions.png"
_GRAY = 128
_MARGIN, _TITLE, _LEAST_SIDE = 8, 26, 96  # pixels
_TITLES = ("masked input", "reconstruction", "original")


class ReconstructionEvaluator(DatasetEvaluator):
    """The mean loss over masked patches of held-out images, and a sheet of some of them.

    Args:
        task: name of the metric, as in ``val/loss``.
        output_dir: folder for ``reconstructions.png``, which replaces an earlier one; None writes
            nothing.
        num_pictures: images on the sheet, the first ones of the main process.
    """

    def __init__(
        self, task: str = "val", output_dir: str | None = None, num_pictures: int = 8
    ) -> None:
        self._task = task
        self._output_dir = output_dir
        self._num_pictures = num_pictures
        self.reset()

    def reset(self) -> None:
        self._losses: dict[str, float] = {}
        self._rows: list[tuple[np.ndarray, ...]] = []

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping[str, Tensor]]) -> None:
        """Take the results of one batch.

        Args:
            inputs: samples with ``image_id``, and ``image`` (3, H, W), in [0, 255].
            outputs: what `MaskedAutoencoder` returns in evaluation.
        """
        for sample, output in zip(inputs, outputs, strict=True):
            self._losses[sample["image_id"]] = output["loss"].item()
        if self._output_dir and comm.is_main_process():
            pairs = zip(inputs, outputs, strict=True)
            missing = self._num_pictures - len(self._rows)
            chosen = itertools.islice(pairs, missing)
            self._rows += [draw_row(sample, output) for sample, output in chosen]

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return the metrics by task on the main process, {} on the others.

        Raises:
            InputError: no image was run.
        """
        gathered = comm.gather(self._losses)
        if not comm.is_main_process():
            return {}
        losses = {
            image_id: loss for of_process in gathered for image_id, loss in of_process.items()
        }
        if not losses:
            raise InputError(f"no image of the {self._task} data was evaluated; check their source")
        if self._rows:
            with optional_write():
                write_sheet(Path(self._output_dir) / PICTURE_NAME, self._rows)
        return {self._task: {"loss": math.fsum(losses.values()) / len(losses)}}


def draw_row(sample: Mapping, output: Mapping[str, Tensor]) -> tuple[np.ndarray, ...]:
    """Return masked input, reconstruction and original of an image, each (H, W, 3) uint8."""
    original = sample["image"].permute(1, 2, 0).numpy().astype(np.uint8)
    filled = output["reconstruction"].permute(1, 2, 0).cpu().numpy().round().astype(np.uint8)
    height, width = original.shape[:2]
    mask = output["mask"].cpu().numpy()
    patch_size = round(math.sqrt(height * width / mask.size))
    grid = mask.reshape(height // patch_size, width // patch_size)
    is_masked = grid.repeat(patch_size, axis=0).repeat(patch_size, axis=1)
    masked = np.where(is_masked[..., None], np.uint8(_GRAY), original)
    return masked, filled, original


def write_sheet(path: Path, rows: Sequence[tuple[np.ndarray, ...]]) -> None:
    """Write rows of equally large pictures as a PNG file; small ones are shown enlarged.

    Raises:
        InputError: it cannot be written.
    """
    side = max(rows[0][0].shape[:2])
    factor = max(1, math.ceil(_LEAST_SIDE / side))
    height, width = (factor * length for length in rows[0][0].shape[:2])
    column, line = width + _MARGIN, height + _MARGIN
    sheet = Sheet(_MARGIN + column * len(_TITLES), _MARGIN + _TITLE + line * len(rows))
    for i, title in enumerate(_TITLES):
        left = _MARGIN + column * i
        sheet.text(title, left + width / 2, _MARGIN, centered=True)
        for j, row in enumerate(rows):
            picture = row[i].repeat(factor, axis=0).repeat(factor, axis=1)
            sheet.image(picture, left, _MARGIN + _TITLE + line * j, frame="#dddddd")
    sheet.save(path)
