"""Confusion sheet: a picture of the most confused pairs of classes, with images of both."""

import logging
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError

from .fonts import drawable_names
from .labels import text_width
from .sheet import Sheet

logger = logging.getLogger(__name__)

MAX_PAIRS, MAX_MISTAKEN, MAX_CORRECT = 8, 3, 2  # shown: pairs, and images of each

# All in pixels.
_MARGIN, _GAP, _SIDE = 28, 10, 160  # _SIDE of an image
_NAMES_WIDTH, _COLUMN_GAP = 270, 36
_MISTAKEN_LEFT = _MARGIN + _NAMES_WIDTH + _COLUMN_GAP
_CORRECT_LEFT = _MISTAKEN_LEFT + MAX_MISTAKEN * (_SIDE + _GAP) - _GAP + _COLUMN_GAP
_WIDTH = _CORRECT_LEFT + MAX_CORRECT * (_SIDE + _GAP) - _GAP + _MARGIN
_HEADER_HEIGHT, _CAPTION_HEIGHT, _ROW_PADDING, _LINE_HEIGHT = 122, 24, 14, 20
_ROW_HEIGHT = _ROW_PADDING + _SIDE + _CAPTION_HEIGHT + _ROW_PADDING

_NAME_SIZE, _NAME_LINES, _NAME_LENGTH = 15, 3, 60  # pixels, lines, characters of a line
_RED, _GREEN, _BLACK, _GRAY, _LIGHT = "#b3261e", "#1b7837", "#222222", "#666666", "#cccccc"

# The number of CUB's "001.Black_footed_Albatross" and Stanford Dogs' "n02085620-Chihuahua".
_NUMBER = re.compile(r"^(?:\d+\.|n\d{8}[-_])(?=[^\W\d_])")


@dataclass(frozen=True)
class Example:
    """An image and how sure the classifier was of the class that it gave it, in [0, 1]."""

    file_name: str  # for `read_rgb`
    confidence: float


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were taken for another.

    Args:
        label: name of the true class.
        predicted: name of the class that they were taken for.
        count: how many they are.
        num_images: of the true class.
        mistaken: examples of them, the most confident first; `MAX_MISTAKEN` are shown.
        correct: images of the class ``predicted`` that were recognized, the most confident first;
            `MAX_CORRECT` are shown.
    """

    label: str
    predicted: str
    count: int
    num_images: int
    mistaken: Sequence[Example]
    correct: Sequence[Example]


def write_confusion_sheet(
    path: Path,
    pairs: Sequence[ConfusedPair],
    *,
    task: str,
    num_pairs: int,
    num_wrong: int,
    num_images: int,
) -> None:
    """Write a row for each pair of classes: names and counts, mistaken and recognized images.

    An image that cannot be read is named in a warning, and its place says so.

    Args:
        path: of a PNG file.
        pairs: the most frequent first; at most `MAX_PAIRS` are shown.
        task: name of the data, for the title.
        num_pairs: that were confused in all.
        num_wrong: misclassified images, out of
        num_images: of the data.

    Raises:
        InputError: the file cannot be written.
    """
    pairs = pairs[:MAX_PAIRS]
    sheet = Sheet(_WIDTH, _HEADER_HEIGHT + len(pairs) * _ROW_HEIGHT + _MARGIN // 2)
    summary = (
        f"{num_wrong} of {num_images} images are misclassified ({num_wrong / num_images:.1%}). "
        f"Pairs shown: {len(pairs)} of {num_pairs}, the most frequent first; of each image its "
        "central square."
    )
    sheet.text(f"Most confused classes ({task})", _MARGIN, 20, size=21, bold=True, color=_BLACK)
    sheet.text(summary, _MARGIN, 54, color=_GRAY)
    for left, heading in (
        (_MARGIN, "True class, taken for"),
        (_MISTAKEN_LEFT, "Misclassified images, most confident first"),
        (_CORRECT_LEFT, "Recognized images of the other class"),
    ):
        sheet.text(heading, left, _HEADER_HEIGHT - 26, bold=True, color=_BLACK)
    for index, pair in enumerate(pairs):
        top = _HEADER_HEIGHT + index * _ROW_HEIGHT
        sheet.line(_MARGIN, _WIDTH - _MARGIN, top, _LIGHT)
        _draw_pair(sheet, top + _ROW_PADDING, pair)
    sheet.save(path)


def display_names(class_names: Sequence[str]) -> list[str]:
    """Return class names without numbers and underscores; equal ones keep their number."""
    shortened = [_clean(_NUMBER.sub("", name)) for name in class_names]
    occurrences = Counter(shortened)
    names = [
        short if short and occurrences[short] == 1 else _clean(name) or "(no name)"
        for short, name in zip(shortened, class_names, strict=True)
    ]
    return drawable_names(names)


def _clean(name: str) -> str:
    printable = name.encode("utf-8", "replace").decode()  # a name may hold surrogates
    return " ".join(printable.replace("_", " ").split())


def _draw_pair(sheet: Sheet, top: int, pair: ConfusedPair) -> None:
    share = f"{pair.count} of {pair.num_images} images ({pair.count / pair.num_images:.1%})"
    label, predicted = (
        [(line, _NAME_SIZE, True, _BLACK) for line in _wrap(name)]
        for name in (pair.label, pair.predicted)
    )
    taken_for, counts = ("taken for", 13, False, _GRAY), (share, 13, False, _BLACK)
    lines = [*label, taken_for, *predicted, counts]
    first = top + (_SIDE - len(lines) * _LINE_HEIGHT) // 2
    for index, (text, size, bold, color) in enumerate(lines):
        line_top = first + index * _LINE_HEIGHT
        sheet.text(text, _MARGIN, line_top, size=size, bold=bold, color=color)
    for index, example in enumerate(pair.mistaken[:MAX_MISTAKEN]):
        _draw_example(sheet, _MISTAKEN_LEFT + index * (_SIDE + _GAP), top, example, _RED)
    for index, example in enumerate(pair.correct[:MAX_CORRECT]):
        _draw_example(sheet, _CORRECT_LEFT + index * (_SIDE + _GAP), top, example, _GREEN)
    if not pair.correct:
        middle = top + _SIDE // 2 - _LINE_HEIGHT // 2
        sheet.text("none of its images is recognized", _CORRECT_LEFT, middle, color=_GRAY)


def _wrap(name: str) -> list[str]:
    """Break a name into lines as long as there is room for; one that is too long is cut."""
    tried = (
        textwrap.wrap(name, length, max_lines=_NAME_LINES, placeholder="…")
        for length in range(_NAME_LENGTH, 0, -1)
    )
    return next(
        lines
        for lines in tried
        if all(text_width(line, _NAME_SIZE, bold=True) <= _NAMES_WIDTH for line in lines)
    )


def _draw_example(sheet: Sheet, left: int, top: int, example: Example, color: str) -> None:
    picture = _thumbnail(example.file_name)
    middle = left + _SIDE // 2
    if picture is None:
        sheet.image(np.full((_SIDE, _SIDE, 3), 235, dtype=np.uint8), left, top, color)
        sheet.text("unreadable", middle, top + _SIDE // 2 - 7, color=_GRAY, centered=True)
    else:
        sheet.image(picture, left, top, color)
    caption = f"confidence {example.confidence:.0%}"
    sheet.text(caption, middle, top + _SIDE + 5, color=_GRAY, centered=True)


def _thumbnail(file_name: str) -> np.ndarray | None:
    """Return the central square of an image, (_SIDE, _SIDE, 3) uint8; None if it is unreadable."""
    try:
        image = Image.fromarray(read_rgb(file_name))
    except InputError as error:
        logger.warning("%s; its cell of the confusion sheet stays empty", error)
        return None
    return np.array(ImageOps.fit(image, (_SIDE, _SIDE), Image.Resampling.LANCZOS))
