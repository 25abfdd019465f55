"""A white sheet on which images, text and lines are placed by pixels, counted from the top left."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.transforms import IdentityTransform

from bpt_det.utils.atomic import atomic_write

_DPI = 100
_FAMILY = "DejaVu Sans"  # comes with Matplotlib
_POINTS_PER_PIXEL = 72 / _DPI


class PixelSheet:
    """A figure whose unit is the pixel. Positions are (left, top), y grows downwards."""

    def __init__(self, width: int, height: int) -> None:
        self._height = height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)

    def image(self, picture: np.ndarray, left: int, top: int, frame: str) -> None:
        """Place an RGB picture, (H, W, 3) uint8, as it is, with a frame of some color around."""
        height, width = picture.shape[:2]
        bottom = self._height - top - height
        self._figure.figimage(picture, left, bottom, origin="upper")
        self._rectangle(left, bottom, width, height, fill=False, edgecolor=frame, linewidth=1.5)

    def line(self, left: int, right: int, top: int, color: str) -> None:
        """Draw a horizontal line, one pixel high."""
        self._rectangle(left, self._height - top, right - left, 1, facecolor=color, linewidth=0)

    def text(
        self,
        text: str,
        left: float,
        top: float,
        *,
        size: float = 13,
        bold: bool = False,
        color: str = "#222222",
        centered: bool = False,
    ) -> None:
        """Write one line; ``top`` is that of its tallest letters, ``size`` in pixels.

        With ``centered``, ``left`` is the middle of the line.
        """
        ascent = 0.76 * size  # of the font's capital letters, and a little more
        self._figure.text(
            left,
            self._height - top - ascent,
            text,
            fontproperties=_font(size, bold),
            color=color,
            horizontalalignment="center" if centered else "left",
            verticalalignment="baseline",
            transform=IdentityTransform(),
            parse_math=False,  # a class may be called "$"
        )

    def text_width(self, text: str, *, size: float = 13, bold: bool = False) -> float:
        """Width of a line in pixels."""
        renderer = self._canvas.get_renderer()
        return renderer.get_text_width_height_descent(text, _font(size, bold), ismath=False)[0]

    def save(self, path: Path) -> None:
        """Write a PNG file.

        Raises:
            InputError: it cannot be written.
        """
        with atomic_write(path) as partial:
            self._figure.savefig(partial, format="png", dpi=_DPI)

    def _rectangle(self, left: int, bottom: int, width: int, height: int, **style) -> None:
        transform = IdentityTransform()
        self._figure.add_artist(
            Rectangle((left, bottom), width, height, transform=transform, **style)
        )


def _font(size: float, bold: bool) -> FontProperties:
    weight = "bold" if bold else "normal"
    return FontProperties(family=_FAMILY, weight=weight, size=size * _POINTS_PER_PIXEL)
