"""Prediction sheet: predictions in some images beside their ground truth, most errors first."""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.structures import BoxMode
from detectron2.utils.events import get_event_storage
from PIL import Image

from bpt_det.data.images import read_rgb, spread_evenly
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2
from bpt_det.visualization.annotations import (
    Annotation,
    ground_truth_annotations,
    scale_annotation,
)
from bpt_det.visualization.draw import draw_annotations
from bpt_det.visualization.picture_files import PNG_LEVEL
from bpt_det.visualization.sheet import contact_sheet, shrink, side_by_side
from bpt_det.visualization.style import DrawStyle

from .analysis import errors_by_image
from .analyzed_evaluation import AnalyzedEvaluation

logger = logging.getLogger(__name__)

_PANEL = 563  # pixels of the longest side: two of them are as wide as a contact sheet
_STYLE = DrawStyle(font_size=12)


@dataclass(frozen=True)
class _Truth:
    picture: np.ndarray  # of the image, as large as a panel
    panel: np.ndarray  # the same with the annotations
    size: tuple[int, int]  # (H, W) of the image
    count: int  # of the annotations


class PredictionSheet:
    """Draws the same images at each evaluation: spread evenly over the data, most errors first.

    Their ground truth is drawn once. A picture that is drawn during training goes into the event
    storage too, as ``<folder>/predictions``.

    Args:
        content: of the annotations, see `prepare_truth`.
        num_images: to draw.
        folder: of the evaluation, which the sheets are in.
    """

    def __init__(self, content: dict, num_images: int, folder: Path) -> None:
        self._content = content
        self._num_images = num_images
        self._root = folder.parent
        self._truths: dict[int, _Truth] = {}

    def write(self, path: Path, evaluation: AnalyzedEvaluation) -> None:
        """Write the sheet; images that cannot be read are left out, with a warning.

        Raises:
            InputError: the file cannot be written.
        """
        records = [{"image_id": image} for image in evaluation.files]
        chosen = [record["image_id"] for record in spread_evenly(records, self._num_images)]
        errors = errors_by_image(evaluation.above)
        chosen.sort(key=lambda image: -sum(errors.get(image, (0, 0))))
        tiles, labels = [], []
        for image in chosen:
            try:
                tiles.append(self._draw(image, evaluation))
            except InputError as error:
                logger.warning("%s; it is left out of '%s'", error, path)
                continue
            wrong, unmatched = errors.get(image, (0, 0))
            name = Path(evaluation.files[image]).name
            labels.append(f"{name}: {wrong} wrong, {unmatched} not found")
        if not tiles:
            return
        sheet = contact_sheet(tiles, labels, row_height=max(len(tile) for tile in tiles))
        with atomic_write(path) as partial:
            Image.fromarray(sheet).save(partial, format="png", compress_level=PNG_LEVEL)
        with contextlib.suppress(AssertionError):  # Detectron2's, where nothing is being trained
            name = path.relative_to(self._root).with_suffix("").as_posix()
            get_event_storage().put_image(name, torch.from_numpy(sheet).permute(2, 0, 1))

    def _draw(self, image: int, evaluation: AnalyzedEvaluation) -> np.ndarray:
        if image not in self._truths:
            self._truths[image] = self._draw_truth(image, evaluation)
        truth = self._truths[image]
        is_shown = (evaluation.matches.images == image) & (
            evaluation.matches.scores > evaluation.threshold
        )
        kept = [
            _annotation(evaluation.results[index], truth.size, truth.picture.shape[:2])
            for index in np.flatnonzero(is_shown)
        ]
        panel = draw_annotations(truth.picture, kept, evaluation.class_names, style=_STYLE)
        titles = (
            f"ground truth: {truth.count}",
            f"predictions: {len(kept)} (score > {evaluation.threshold:.2f})",
        )
        return side_by_side([truth.panel, panel], titles)

    def _draw_truth(self, image: int, evaluation: AnalyzedEvaluation) -> _Truth:
        pixels = read_rgb(evaluation.files[image])
        height, width = pixels.shape[:2]
        picture = shrink(pixels, _PANEL)
        if max(height, width) < _PANEL:
            scale = _PANEL / max(height, width)
            enlarged = (max(1, round(width * scale)), max(1, round(height * scale)))
            picture = cv2.resize(pixels, enlarged, interpolation=cv2.INTER_CUBIC)
        entries = [
            {**a, "bbox_mode": BoxMode.XYWH_ABS, "category_id": a["category_id"] - 1}
            for a in self._content["annotations"]
            if a["image_id"] == image
        ]
        record = {"height": height, "width": width, "annotations": entries}
        truth = ground_truth_annotations(record, *picture.shape[:2])
        panel = draw_annotations(picture, truth, evaluation.class_names, style=_STYLE)
        return _Truth(picture, panel, (height, width), len(truth))


def _annotation(result: dict, old: tuple[int, int], new: tuple[int, int]) -> Annotation:
    """Return a prediction in COCO's format as it lies in a picture of the image."""
    left, top, width, height = result["bbox"]
    box = (left, top, left + width, top + height)
    mask = result.get("segmentation")
    annotation = Annotation(result["category_id"] - 1, box, mask, result["score"])
    return scale_annotation(annotation, old, new)
