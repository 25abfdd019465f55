"""Histograms of many samples in one figure, with fitted densities and logarithmic counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_SIZE = (2.6, 1.35)  # inches
_NUM_BINS = 121
_MAX_REACH = 30.0  # standard deviations; what lies beyond is counted in the outermost bins
_FILL, _NORMAL = "#9db8d2", "#777777"
_CURVES = ("#d55e00", "#0b3c6f")  # of the densities, in the order of their names
_STYLES = ("--", "-")

Density = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Panel:
    """One histogram.

    Args:
        values: the sample, of any shape.
        densities: curves to draw over it, p(x) by name; a name has the same color in all panels.
        note: lines of text in its corner.
    """

    values: np.ndarray
    densities: Mapping[str, Density] = field(default_factory=dict)
    note: str = ""


def draw_histograms(
    rows: Mapping[str, Sequence[Panel | None]], column_titles: Sequence[str]
) -> Figure:
    """Return a figure with a row of histograms for each name.

    The horizontal axis is in standard deviations of the sample, from its mean, and is the same in
    a column. The vertical one counts values, on a logarithmic scale. A Gaussian of the same mean
    and deviation is drawn dotted.

    Args:
        rows: panels by the name of their row, one per column; None leaves a place empty.
        column_titles: one per column.
    """
    size = _PANEL_SIZE[0] * len(column_titles), _PANEL_SIZE[1] * len(rows) + 0.9
    figure = new_figure(*size)
    axes = figure.subplots(len(rows), len(column_titles), squeeze=False)
    for column, title in enumerate(column_titles):
        panels = [panels[column] for panels in rows.values()]
        reach = max((_reach(panel.values) for panel in panels if panel is not None), default=1.0)
        for row, panel in enumerate(panels):
            _draw_panel(axes[row, column], panel, reach)
            axes[row, column].tick_params(labelbottom=row == len(rows) - 1)
        axes[0, column].set_title(title, fontsize=10)
        axes[-1, column].set_xlabel("standard deviations", fontsize=8)
    for row, name in enumerate(rows):
        axes[row, 0].set_ylabel(name, fontsize=9)
    handles = {
        label: handle
        for ax in axes.flat
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), fontsize=9
    )
    return figure


def _standardized(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64).ravel()
    return (values - values.mean()) / (values.std() or 1.0)


def _reach(values: np.ndarray) -> float:
    """Return the largest distance from the mean, in standard deviations."""
    return min(float(np.abs(_standardized(values)).max()), _MAX_REACH)


def _draw_panel(ax: Axes, panel: Panel | None, reach: float) -> None:
    if panel is None:
        ax.set_axis_off()
        return
    from matplotlib import ticker

    mean, deviation = panel.values.mean(dtype=np.float64), panel.values.std(dtype=np.float64)
    edges = np.linspace(-reach, reach, _NUM_BINS + 1)
    values = _standardized(panel.values).clip(-reach, reach)
    counts, _ = np.histogram(values, edges)
    ax.stairs(counts, edges, fill=True, color=_FILL, label="entries")
    x = np.linspace(-reach, reach, 4 * _NUM_BINS + 1)  # its middle is 0, the peak
    per_bin = values.size * (edges[1] - edges[0])
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    ax.plot(x, per_bin * normal, ":", color=_NORMAL, linewidth=1, label="Gaussian")
    colors = zip(panel.densities.items(), _CURVES, _STYLES, strict=False)
    for (name, density), color, style in colors:
        curve = per_bin * deviation * density(mean + deviation * x)
        ax.plot(x, curve, style, color=color, linewidth=1.2, label=name)
    ax.set_yscale("log")
    ax.set_ylim(0.5, 4 * max(counts.max(), 1))
    ax.set_xlim(-reach, reach)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)
    ax.text(0.98, 0.97, panel.note, transform=ax.transAxes, ha="right", va="top", fontsize=7.5)
