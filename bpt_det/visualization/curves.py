"""Curves of losses and metrics over the iterations, as a picture."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from detectron2.engine import HookBase
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bpt_det.engine.metrics import read_records
from bpt_det.utils.atomic import atomic_write

logger = logging.getLogger(__name__)

CURVES_NAME = "curves.png"
_TOTAL_LOSS = "total_loss"
_SIZE = (12, 4.5)  # inches
_DOTS_PER_INCH = 100

_MARKED = 50  # curves of so few points get a mark at each

Curve = list[tuple[int, float]]  # (iteration, value) with rising iterations


def read_curves(metrics_file: str | Path, names: Sequence[str]) -> dict[str, Curve]:
    """Return the curve of each metric that a run has written to its metrics.json.

    A resumed run repeats iterations: a value replaces all earlier written ones of its metric from
    its iteration on. Values that are not finite are left out.

    Args:
        metrics_file: one record a line; it need not exist.
        names: of metrics, such as ``bbox/AP``; those the file lacks are left out.
    """
    curves: dict[str, Curve] = {}
    for record in read_records(metrics_file):
        for name in names:
            if name not in record:
                continue
            curve = curves.setdefault(name, [])
            while curve and curve[-1][0] >= record["iteration"]:
                curve.pop()
            if math.isfinite(record[name]):
                curve.append((record["iteration"], record[name]))
    return {name: curves[name] for name in names if curves.get(name)}


def draw_curves(metrics_file: str | Path, output_png: str | Path, names: Sequence[str]) -> None:
    """Draw losses on the left and metrics on the right; where there is nothing, write no file.

    Args:
        metrics_file: a run's metrics.json.
        output_png: file to write.
        names: of metrics; those that end in ``loss`` are drawn beside the training's total loss.

    Raises:
        InputError: ``output_png`` cannot be written.
    """
    curves = read_curves(metrics_file, list(dict.fromkeys([_TOTAL_LOSS, *names])))
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


class DrawCurves(HookBase):
    """Draws ``curves.png`` of what a run has written, when it ends.

    Register it in the main process alone, after the hook that writes metrics.json.

    Args:
        output_dir: folder of the run.
        names: see `draw_curves`.
    """

    def __init__(self, output_dir: str | Path, names: Sequence[str]) -> None:
        self.output_dir = Path(output_dir)
        self.names = list(names)

    def after_train(self) -> None:
        """Draw; a run whose curves cannot be drawn has not failed."""
        path = self.output_dir / CURVES_NAME
        try:
            draw_curves(self.output_dir / "metrics.json", path, self.names)
        except Exception as error:
            logger.warning("'%s' could not be drawn: %s", path, error)
