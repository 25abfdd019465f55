"""The picture of the most confused pairs of classes, with images of both."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bpt_det.classification.confusion import (
    ConfusedPair,
    count_confusions,
    count_images,
    find_examples,
    rank_pairs,
)
from bpt_det.classification.ranking import Prediction
from bpt_det.data.images import read_stored
from bpt_det.utils.errors import InputError

from .names import display_names, wrap
from .pixel_sheet import PixelSheet

logger = logging.getLogger(__name__)

_MAX_PAIRS, _NUM_MISTAKEN, _NUM_CORRECT = 8, 3, 2

# All in pixels.
_MARGIN, _GAP, _SIDE = 28, 10, 160  # _SIDE of an image
_NAMES_WIDTH, _COLUMN_GAP = 270, 36
_MISTAKEN_LEFT = _MARGIN + _NAMES_WIDTH + _COLUMN_GAP
_CORRECT_LEFT = _MISTAKEN_LEFT + _NUM_MISTAKEN * (_SIDE + _GAP) - _GAP + _COLUMN_GAP
_WIDTH = _CORRECT_LEFT + _NUM_CORRECT * (_SIDE + _GAP) - _GAP + _MARGIN
_HEADER_HEIGHT, _CAPTION_HEIGHT, _ROW_PADDING, _LINE_HEIGHT = 122, 24, 14, 20
_ROW_HEIGHT = _ROW_PADDING + _SIDE + _CAPTION_HEIGHT + _ROW_PADDING

_WRONG, _RIGHT, _GRAY, _RULE = "#b3261e", "#1b7837", "#666666", "#cccccc"


def write_most_confused(
    path: Path, predictions: Sequence[Prediction], class_names: Sequence[str], task: str
) -> None:
    """Write the picture, or remove an earlier one if no image was taken for another class.

    A row per pair of classes: up to 3 images of the one that were taken for the other, and beside
    them up to 2 that were recognized as the other. An image that cannot be read is named in a
    warning, and its place says so.

    Args:
        path: of a PNG file.
        predictions: at least one.
        class_names: one per class.
        task: name of the data, for the title.

    Raises:
        InputError: the file cannot be written.
    """
    num_classes = len(class_names)
    num_images = count_images(predictions, num_classes)
    ranked = rank_pairs(count_confusions(predictions, num_classes), num_images)
    if not ranked:
        path.unlink(missing_ok=True)
        logger.info("No %s image was taken for another class: no %s", task, path.name)
        return
    pairs = find_examples(
        predictions,
        ranked[:_MAX_PAIRS],
        num_classes,
        max_mistaken=_NUM_MISTAKEN,
        max_correct=_NUM_CORRECT,
    )
    height = _HEADER_HEIGHT + len(pairs) * _ROW_HEIGHT + _MARGIN // 2
    sheet = PixelSheet(_WIDTH, height)
    _draw_header(sheet, task, predictions, len(pairs), len(ranked))
    names = display_names(class_names)
    for index, pair in enumerate(pairs):
        top = _HEADER_HEIGHT + index * _ROW_HEIGHT
        sheet.line(_MARGIN, _WIDTH - _MARGIN, top, _RULE)
        _draw_pair(sheet, top + _ROW_PADDING, pair, names)
    sheet.save(path)


def _draw_header(
    sheet: PixelSheet, task: str, predictions: Sequence[Prediction], shown: int, num_pairs: int
) -> None:
    num_wrong = sum(not prediction.is_correct for prediction in predictions)
    sheet.text(f"Most confused classes ({task})", _MARGIN, 24, size=21, bold=True)
    sheet.text(
        f"{num_wrong} of {len(predictions)} images are misclassified "
        f"({num_wrong / len(predictions):.1%}). Pairs shown: {shown} of {num_pairs}, the most "
        "frequent first; of each image its central square.",
        *(_MARGIN, 57),
        color=_GRAY,
    )
    headings = [
        (_MARGIN, "True class, taken for"),
        (_MISTAKEN_LEFT, "Misclassified images, most confident first"),
        (_CORRECT_LEFT, "Recognized images of the other class"),
    ]
    for left, heading in headings:
        sheet.text(heading, left, _HEADER_HEIGHT - 24, bold=True)


def _draw_pair(sheet: PixelSheet, top: int, pair: ConfusedPair, names: Sequence[str]) -> None:
    _draw_names(sheet, top, pair, names)
    for index, example in enumerate(pair.mistaken):
        _draw_example(sheet, _MISTAKEN_LEFT + index * (_SIDE + _GAP), top, example, _WRONG)
    for index, example in enumerate(pair.correct):
        _draw_example(sheet, _CORRECT_LEFT + index * (_SIDE + _GAP), top, example, _RIGHT)
    if not pair.correct:
        middle = top + _SIDE // 2 - _LINE_HEIGHT // 2
        sheet.text("none of its images is recognized", _CORRECT_LEFT, middle, color=_GRAY)


def _draw_names(sheet: PixelSheet, top: int, pair: ConfusedPair, names: Sequence[str]) -> None:
    def lines_of(index: int) -> list[str]:
        return wrap(names[index], _NAMES_WIDTH, lambda text: sheet.text_width(text, **bold))

    bold = {"size": 15, "bold": True}
    share = f"{pair.count} of {pair.num_images} images ({pair.count / pair.num_images:.1%})"
    lines: list[tuple[str, dict]] = [
        *((line, bold) for line in lines_of(pair.label)),
        ("taken for", {"color": _GRAY}),
        *((line, bold) for line in lines_of(pair.predicted)),
        (share, {}),
    ]
    top += (_SIDE - len(lines) * _LINE_HEIGHT) // 2
    for index, (line, style) in enumerate(lines):
        sheet.text(line, _MARGIN, top + index * _LINE_HEIGHT, **style)


def _draw_example(sheet: PixelSheet, left: int, top: int, example: Prediction, color: str) -> None:
    picture = _thumbnail(example.file_name)
    middle = left + _SIDE // 2
    if picture is None:
        picture = np.full((_SIDE, _SIDE, 3), 235, dtype=np.uint8)
        sheet.text("unreadable", middle, top + _SIDE // 2 - 7, color=_GRAY, centered=True)
    sheet.image(picture, left, top, color)
    caption = f"confidence {example.probabilities[0]:.0%}"
    sheet.text(caption, middle, top + _SIDE + 8, color=_GRAY, centered=True)


def _thumbnail(file_name: str) -> np.ndarray | None:
    """Return the central square of an image, (_SIDE, _SIDE, 3) uint8; None if it is unreadable."""
    try:
        image = Image.fromarray(read_stored(file_name))
    except InputError as error:
        logger.warning("%s; its place in the picture of the confusions stays empty", error)
        return None
    return np.array(ImageOps.fit(image, (_SIDE, _SIDE), Image.Resampling.LANCZOS))
