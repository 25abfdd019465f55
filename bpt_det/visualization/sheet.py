"""Picture sheets: images, text and lines on a white sheet, panels side by side, contact sheets.

Pictures are RGB arrays (H, W, 3), uint8.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.opencv import cv2

from .fonts import default_font, drawable_text, load_font, split_by_font
from .labels import text_width

_SHEET_WIDTH = 2900
_GAP = 8  # pixels between panels and tiles


class Sheet:
    """A white picture to place images, text and lines on, by pixels from its top left corner."""

    def __init__(self, width: int, height: int) -> None:
        self._picture = Image.new("RGB", (width, height), "white")
        self._drawing = ImageDraw.Draw(self._picture)

    @property
    def pixels(self) -> np.ndarray:
        """The picture, (H, W, 3), uint8."""
        return np.array(self._picture)

    def image(self, picture: np.ndarray, left: int, top: int, frame: str | None = None) -> None:
        """Place a picture as it is, within a frame of a color if one is given."""
        self._picture.paste(Image.fromarray(picture), (left, top))
        if frame is not None:
            height, width = picture.shape[:2]
            corners = (left - 2, top - 2, left + width + 1, top + height + 1)
            self._drawing.rectangle(corners, outline=frame, width=2)

    def line(self, left: int, right: int, top: int, color: str) -> None:
        """Draw a horizontal line, one pixel high."""
        self._drawing.line((left, top, right - 1, top), fill=color)

    def text(
        self,
        text: str,
        left: float,
        top: float,
        *,
        size: float = 13,
        bold: bool = False,
        color: str = "black",
        centered: bool = False,
    ) -> None:
        """Write one line, ``size`` in pixels; with ``centered``, ``left`` is its middle.

        Letters are of the first font that has them, see `drawable_text`.
        """
        baseline = top + load_font(default_font(bold), size).getmetrics()[0]
        if centered:
            left -= text_width(text, size, bold) / 2
        for path, part in split_by_font(text, bold):
            font = load_font(path, size)
            self._drawing.text((left, baseline), part, fill=color, font=font, anchor="ls")
            left += font.getlength(part)

    def save(self, path: Path) -> None:
        """Write a PNG file.

        Raises:
            InputError: it cannot be written.
        """
        with atomic_write(path) as partial:
            self._picture.save(partial, format="png")


def shrink(picture: np.ndarray, longest: int) -> np.ndarray:
    """Return a picture with no side over ``longest``, each pixel the mean of those it replaces."""
    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def side_by_side(panels: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Return panels in one row, each under its title; narrow ones are padded to their title."""
    font_size = max(max(panel.shape[:2]) for panel in panels) // 28
    strip = 2 * font_size
    widths = [
        max(panel.shape[1], text_width(title, font_size) + _GAP)
        for panel, title in zip(panels, titles, strict=True)
    ]
    height = strip + max(panel.shape[0] for panel in panels)
    sheet = Sheet(sum(widths) + _GAP * (len(panels) - 1), height)
    left = 0
    for panel, title, width in zip(panels, titles, widths, strict=True):
        sheet.image(panel, left, strip)
        sheet.text(title, left + _GAP // 2, font_size // 3, size=font_size)
        left += width + _GAP
    return sheet.pixels


def contact_sheet_tile(picture: np.ndarray, num_pictures: int) -> np.ndarray:
    """Shrink a picture to the tile it gets on a contact sheet of so many pictures."""
    columns = _num_columns(num_pictures)
    return shrink(picture, (_SHEET_WIDTH - _GAP * (columns + 1)) // columns)


def contact_sheet(tiles: Sequence[np.ndarray], labels: Sequence[str]) -> np.ndarray:
    """Return tiles in rows, each under its label; a label that is too long is cut at its start."""
    columns = min(_num_columns(len(tiles)), len(tiles))
    width = max(tile.shape[1] for tile in tiles)
    font_size = 22
    strip = 2 * font_size  # holds the label
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [strip + max(tile.shape[0] for tile in row) for row in rows]
    sheet = Sheet(columns * (width + _GAP) + _GAP, sum(heights) + _GAP * len(rows))
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        row, column = divmod(index, columns)
        left, top = _GAP + column * (width + _GAP), sum(heights[:row]) + _GAP * row
        sheet.image(tile, left, top + strip)
        text = _cut_start(drawable_text(label), width, font_size)
        sheet.text(text, left, top + font_size // 3, size=font_size)
    return sheet.pixels


def _num_columns(num_pictures: int) -> int:
    return max(3, round(np.sqrt(num_pictures / 2)))  # a tile of two panels is wide


def _cut_start(text: str, width: int, size: int) -> str:
    shortened = text
    while text and text_width(shortened, size) > width:
        text = text[1:]
        shortened = f"…{text}"
    return shortened
