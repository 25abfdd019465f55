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
from .picture_files import PNG_LEVEL

# All in pixels.
SHEET_WIDTH = 1150  # of a contact sheet: that of a page, on which its labels are legible
_ROW_HEIGHT, _LEAST_HEIGHT = 460, 80  # of its pictures, at most and at least
_LEAST_FIT = 0.7  # by which the pictures of a row are made smaller, so that it is full
_MOST_HEIGHT = 9000  # of a sheet, unless its pictures would be lower than the least
_LABEL_SIZE, _STRIP = 14, 22  # _STRIP holds the label
_GAP = 8  # between panels and tiles

Row = list[tuple[int, tuple[int, int]]]  # index of a picture, and its size (H, W)


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
            self._picture.save(partial, format="png", compress_level=PNG_LEVEL)


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


def contact_sheet_tile(picture: np.ndarray) -> np.ndarray:
    """Shrink a picture to the largest size that it can have on a contact sheet."""
    height, width = picture.shape[:2]
    scale = min(1.0, (SHEET_WIDTH - 2 * _GAP) / width, _ROW_HEIGHT / height)
    return _resize(picture, (max(1, round(height * scale)), max(1, round(width * scale))))


def contact_sheet(
    tiles: Sequence[np.ndarray], labels: Sequence[str], row_height: float = _ROW_HEIGHT
) -> np.ndarray:
    """Return tiles in rows as wide as the sheet, each under its label, `SHEET_WIDTH` wide.

    A row takes as many as fit by their aspect ratios, in their order, and is lower the more tiles
    there are. None is enlarged. A label that is too long is cut at its start.

    Args:
        tiles: pictures, RGB (H, W, 3), uint8.
        labels: of the tiles.
        row_height: of a tile at most, in pixels.
    """
    sizes = [tile.shape[:2] for tile in tiles]
    rows = pack_rows(sizes, SHEET_WIDTH, row_height)
    while _total_height(rows) > _MOST_HEIGHT and row_height > _LEAST_HEIGHT:
        row_height *= 0.9
        rows = pack_rows(sizes, SHEET_WIDTH, row_height)
    sheet = Sheet(SHEET_WIDTH, _total_height(rows))
    top = _GAP
    for row in rows:
        left = _GAP
        for index, (tile_height, tile_width) in row:
            sheet.image(_resize(tiles[index], (tile_height, tile_width)), left, top + _STRIP)
            text = _cut_start(drawable_text(labels[index]), tile_width, _LABEL_SIZE)
            sheet.text(text, left, top + 3, size=_LABEL_SIZE)
            left += tile_width + _GAP
        top += _row_height(row)
    return sheet.pixels


def pack_rows(sizes: Sequence[tuple[int, int]], width: int, height: float) -> list[Row]:
    """Return which pictures stand in which row, and the size of each there.

    A picture that would make the others of its row much smaller begins the next one.

    Args:
        sizes: (H, W) of the pictures.
        width: of a row with gaps around its pictures, in pixels.
        height: of a picture at most.
    """
    scales = [min(1.0, height / size[0]) for size in sizes]

    def fit(members: list[int]) -> float:  # below 1: they are wider than the row
        needed = sum(sizes[i][1] * scales[i] for i in members)
        return (width - _GAP * (len(members) + 1)) / needed

    groups: list[list[int]] = []
    for index in range(len(sizes)):
        if groups and fit(groups[-1]) > 1 and fit([*groups[-1], index]) >= _LEAST_FIT:
            groups[-1].append(index)
        else:
            groups.append([index])
    return [[(i, _scale(sizes[i], scales[i] * min(1.0, fit(g)))) for i in g] for g in groups]


def _scale(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _row_height(row: Row) -> int:
    return _STRIP + max(height for _, (height, _) in row) + _GAP


def _total_height(rows: Sequence[Row]) -> int:
    return _GAP + sum(map(_row_height, rows))


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def _cut_start(text: str, width: int, size: int) -> str:
    shortened = text
    while text and text_width(shortened, size) > width:
        text = text[1:]
        shortened = f"…{text}"
    return shortened
