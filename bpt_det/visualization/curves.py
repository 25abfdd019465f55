"""Curves of losses, metrics, learning rate and prompts over the iterations, as pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .figures import add_legend, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES_NAME = "curves.png"
_TOTAL_LOSS = "total_loss"
_LEARNING_RATE = "lr"
PROMPT_RMS = "prompt_rms_"  # with the index of a block behind it
_SIZE = (14, 4.5)  # inches
_MARKED = 50  # curves of so few points get a mark at each

Curve = list[tuple[int, float]]  # (iteration, value) with rising iterations


def collect_curves(
    records: Iterable[Mapping[str, float]], names: Sequence[str]
) -> dict[str, Curve]:
    """Return the curve of each metric in the records that a run has written.

    A resumed run repeats iterations: a value replaces all earlier written ones of its metric from
    its iteration on. Values that are not finite are left out.

    Args:
        records: metrics by name, with an ``iteration`` each, in the order of writing.
        names: of metrics, such as ``bbox/AP``; those that no record holds are left out.
    """
    curves: dict[str, Curve] = {}
    for record in records:
        for name in names:
            if name not in record:
                continue
            curve = curves.setdefault(name, [])
            iteration = int(record["iteration"])
            while curve and curve[-1][0] >= iteration:
                curve.pop()
            if math.isfinite(record[name]):
                curve.append((iteration, record[name]))
    return {name: curves[name] for name in names if curves.get(name)}


def draw_curves(
    records: Iterable[Mapping[str, float]], output_png: str | Path, names: Sequence[str]
) -> None:
    """Draw the losses, the metrics and the learning rate; where there is nothing, write no file.

    Args:
        records: see `collect_curves`.
        output_png: file to write.
        names: of metrics; losses are found by their names, which hold ``loss``.

    Raises:
        InputError: ``output_png`` cannot be written.
    """
    records = list(records)
    losses = sorted({name for record in records for name in record if "loss" in name.lower()})
    losses.sort(key=lambda name: name != _TOTAL_LOSS)
    kinds = {
        "loss": losses,
        "metrics (percent)": [name for name in names if name not in losses],
        "learning rate": [_LEARNING_RATE],
    }
    curves = {title: collect_curves(records, chosen) for title, chosen in kinds.items()}
    if not (curves["loss"] or curves["metrics (percent)"]):
        return
    figure = new_figure(*_SIZE)
    panels = figure.subplots(1, len(curves), width_ratios=(5, 5, 3))
    for axes, (title, named) in zip(panels, curves.items(), strict=True):
        _draw(axes, title, named)
        if title == "loss":
            _use_log_scale(axes, named)
    save_figure(figure, output_png)


def draw_prompt_norms(records: Iterable[Mapping[str, float]], output_png: str | Path) -> bool:
    """Draw the root mean square of each block's prompts; return whether there is any.

    Args:
        records: see `collect_curves`; the values are named ``prompt_rms_<block>``.
        output_png: file to write.

    Raises:
        InputError: ``output_png`` cannot be written.
    """
    records = list(records)
    names = {name for record in records for name in record if name.startswith(PROMPT_RMS)}
    curves = collect_curves(records, sorted(names, key=lambda name: (len(name), name)))
    if not curves:
        return False
    figure = new_figure(6.4, 4.0)
    blocks = {f"block {name.removeprefix(PROMPT_RMS)}": curve for name, curve in curves.items()}
    _draw(figure.subplots(), "root mean square of the prompts", blocks)
    save_figure(figure, output_png)
    return True


def _use_log_scale(axes: Axes, curves: Mapping[str, Curve]) -> None:
    """Show losses of all sizes, if none is zero or negative."""
    if curves and all(value > 0 for curve in curves.values() for _, value in curve):
        axes.set_yscale("log")


def _draw(axes: Axes, title: str, curves: Mapping[str, Curve]) -> None:
    for name, curve in curves.items():
        iterations, values = zip(*curve, strict=True)
        axes.plot(iterations, values, label=name, marker="." if len(curve) <= _MARKED else None)
    axes.set_title(title)
    axes.set_xlabel("iteration")
    axes.grid(alpha=0.3)
    add_legend(axes)
