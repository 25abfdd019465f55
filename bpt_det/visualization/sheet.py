"""Pictures put together: panels side by side, and many of them on a contact sheet.

Pictures are RGB arrays (H, W, 3), uint8.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from bpt_det.utils.opencv import cv2

from .labels import font, text_width

_SHEET_WIDTH = 2900
_GAP = 8  # pixels between panels and tiles


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
    height = max(panel.shape[0] for panel in panels)
    row = _blank(strip + height, sum(widths) + _GAP * (len(panels) - 1))
    left = 0
    for panel, title, width in zip(panels, titles, widths, strict=True):
        row[strip : strip + panel.shape[0], left : left + panel.shape[1]] = panel
        row = _write(row, title, (left + _GAP // 2, font_size // 3), font_size)
        left += width + _GAP
    return row


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
    sheet = _blank(sum(heights) + _GAP * len(rows), columns * (width + _GAP) + _GAP)
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        row, column = divmod(index, columns)
        top = sum(heights[:row]) + _GAP * row
        left = _GAP + column * (width + _GAP)
        sheet[top + strip : top + strip + tile.shape[0], left : left + tile.shape[1]] = tile
        header = _write(
            _blank(strip, width), _shorten(label, width, font_size), (0, font_size // 3), font_size
        )
        sheet[top : top + strip, left : left + width] = header
    return sheet


def _num_columns(num_pictures: int) -> int:
    return max(3, round(np.sqrt(num_pictures / 2)))  # a tile of two panels is wide


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, dtype=np.uint8)


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: int) -> np.ndarray:
    drawing = Image.fromarray(picture)
    ImageDraw.Draw(drawing).text(place, text, fill="black", font=font(size))
    return np.array(drawing)


def _shorten(text: str, width: int, size: int) -> str:
    shortened = text
    while text and text_width(shortened, size) > width:
        text = text[1:]
        shortened = f"…{text}"
    return shortened
