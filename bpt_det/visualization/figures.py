"""Figures of Matplotlib, which takes half a second to import and so comes with the first one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bpt_det.utils.atomic import atomic_write

from .picture_files import PNG_LEVEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 100


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; sizes in inches of 100 pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")


def save_figure(figure: Figure, output_png: str | Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(output_png) as partial:
        figure.savefig(partial, format="png", pil_kwargs={"compress_level": PNG_LEVEL})
