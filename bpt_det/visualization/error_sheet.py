"""Error sheet: a picture of the worst errors of each kind, cut out of their images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError

from .annotations import Box, mask_contours
from .fonts import drawable_text
from .labels import text_width
from .sheet import Sheet

logger = logging.getLogger(__name__)

MAX_EXAMPLES = 6  # of a kind

# All in pixels.
_MARGIN, _GAP, _SIDE = 20, 12, 170  # _SIDE of an example
_WIDTH = 2 * _MARGIN + MAX_EXAMPLES * (_SIDE + _GAP) - _GAP
_HEADER, _TITLE, _CAPTION, _TEXT = 64, 30, 44, 13
_LEAST_CROP = 48  # of an image
_PREDICTED, _TRUE, _GRAY = "#e6194b", "#1b9e3c", "#666666"


class Outline(NamedTuple):
    """What is drawn of an object: its mask, a run-length code, if it is given, else its box."""

    box: Box
    mask: dict | None = None


@dataclass(frozen=True)
class ErrorExample:
    """One error of a detector.

    Args:
        file_name: of the image, for `read_rgb`.
        predicted: the false positive; None: there is none.
        true: the object that it should have been; None: there is none.
        captions: two lines below it.
    """

    file_name: str
    predicted: Outline | None
    true: Outline | None
    captions: tuple[str, str]


def write_error_sheet(
    path: Path, groups: Sequence[tuple[str, Sequence[ErrorExample]]], note: str
) -> None:
    """Write a row for each kind of error: its title, and the first examples of it.

    Args:
        path: of a PNG file.
        groups: title and examples of each kind.
        note: what is counted, for the head.

    Raises:
        InputError: the file cannot be written.
    """
    row = _TITLE + _SIDE + _CAPTION
    sheet = Sheet(_WIDTH, _HEADER + row * len(groups))
    sheet.text(
        "Errors: the most confident predictions, the largest missed objects",
        _MARGIN,
        12,
        size=18,
        bold=True,
    )
    sheet.text(note, _MARGIN, 38, size=_TEXT, color=_GRAY)
    key_left = _WIDTH - _MARGIN - text_width("predicted  true", _TEXT, bold=True)
    sheet.text("predicted", key_left, 14, size=_TEXT, bold=True, color=_PREDICTED)
    true_left = _WIDTH - _MARGIN - text_width("true", _TEXT, bold=True)
    sheet.text("true", true_left, 14, size=_TEXT, bold=True, color=_TRUE)
    for index, (title, examples) in enumerate(groups):
        top = _HEADER + index * row
        sheet.text(title, _MARGIN, top + 6, size=14, bold=True)
        for place, example in enumerate(examples[:MAX_EXAMPLES]):
            left = _MARGIN + place * (_SIDE + _GAP)
            sheet.image(_crop(example), left, top + _TITLE)
            for line, caption in enumerate(example.captions):
                text = _fit(drawable_text(caption))
                line_top = top + _TITLE + _SIDE + 3 + 16 * line
                sheet.text(text, left, line_top, size=_TEXT, color="black" if not line else _GRAY)
    sheet.save(path)


def _crop(example: ErrorExample) -> np.ndarray:
    """Return the surroundings of the objects with these drawn, (_SIDE, _SIDE, 3) uint8."""
    try:
        image = Image.fromarray(read_rgb(example.file_name))
    except InputError as error:
        logger.warning("%s; its place on the error sheet stays empty", error)
        return np.full((_SIDE, _SIDE, 3), 235, np.uint8)
    boxes = [outline.box for outline in (example.predicted, example.true) if outline is not None]
    low = np.min([box[:2] for box in boxes], axis=0)
    high = np.max([box[2:] for box in boxes], axis=0)
    side = max(_LEAST_CROP, 1.5 * (high - low).max())
    spare = np.array(image.size) - side  # a crop lies inside its image if it fits
    corner = (low + high - side) / 2
    left, top = np.where(spare >= 0, np.clip(corner, 0, np.maximum(spare, 0)), corner)
    scale = _SIDE / side
    window = (left, top, left + side, top + side)
    image = image.transform(
        (_SIDE, _SIDE),
        Image.Transform.EXTENT,
        window,
        Image.Resampling.BILINEAR if side <= 3 * _SIDE else Image.Resampling.NEAREST,
        fillcolor="#ebebeb",
    )
    drawing = ImageDraw.Draw(image)
    for outline, color in ((example.true, _TRUE), (example.predicted, _PREDICTED)):
        for line in [] if outline is None else _lines(outline):
            points = (line - (left, top)) * scale
            drawing.line([*map(tuple, points.tolist())], fill=color, width=2)
    return np.array(image)


def _lines(outline: Outline) -> list[np.ndarray]:
    """Return the closed lines around an object, points (N, 2) as (x, y) in pixels of the image."""
    if outline.mask is None:
        x0, y0, x1, y1 = outline.box
        return [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])]
    contours = mask_contours(coco_mask.decode(outline.mask))
    return [np.concatenate([contour, contour[:1]]) + 0.5 for contour in contours]


def _fit(text: str) -> str:
    shortened = text
    while text and text_width(shortened, _TEXT) > _SIDE:
        text = text[:-1]
        shortened = f"{text}…"
    return shortened
