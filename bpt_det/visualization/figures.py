"""Figures of Matplotlib, which takes half a second to import and so comes with the first one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bpt_det.utils.atomic import atomic_write

from .picture_files import PNG_LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 100
_MANY = 5  # curves; of more, the legend stands below the panel


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure; sizes in inches of 100 pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")


def add_legend(axes: Axes) -> None:
    """Name the curves of a panel: inside it, or below where the names of many would cover some."""
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) > _MANY:
        axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    elif handles:
        axes.legend(fontsize=8)


def save_figure(figure: Figure, output_png: str | Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(output_png) as partial:
        figure.savefig(partial, format="png", pil_kwargs={"compress_level": PNG_LEVEL})
