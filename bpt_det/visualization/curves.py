"""Curves of losses and metrics over the iterations, as a picture."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpt_det.utils.atomic import atomic_write

CURVES_NAME = "curves.png"
_TOTAL_LOSS = "total_loss"
_SIZE = (12, 4.5)  # inches
_DOTS_PER_INCH = 100

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
    """Draw losses on the left and metrics on the right; where there is nothing, write no file.

    Args:
        records: see `collect_curves`.
        output_png: file to write.
        names: of metrics; those that end in ``loss`` are drawn beside the training's total loss.

    Raises:
        InputError: ``output_png`` cannot be written.
    """
    curves = collect_curves(records, list(dict.fromkeys([_TOTAL_LOSS, *names])))
    if not curves:
        return
    figure = Figure(figsize=_SIZE, dpi=_DOTS_PER_INCH, layout="constrained")
    losses, metrics = figure.subplots(1, 2)
    _draw(losses, "loss", {k: c for k, c in curves.items() if k.endswith("loss")})
    _draw(metrics, "metrics (percent)", {k: c for k, c in curves.items() if not k.endswith("loss")})
    with atomic_write(output_png) as partial:
        figure.savefig(partial, format="png")


def _draw(axes: Axes, title: str, curves: dict[str, Curve]) -> None:
    for name, curve in curves.items():
        iterations, values = zip(*curve, strict=True)
        axes.plot(iterations, values, label=name, marker="." if len(curve) <= _MARKED else None)
    axes.set_title(title)
    axes.set_xlabel("iteration")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend()
