"""Metric writers: hooks that write metrics.json after each evaluation, and curves at the end."""

import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.engine import HookBase
from detectron2.engine.hooks import PeriodicWriter
from detectron2.utils.events import CommonMetricPrinter, EventWriter

from bpt_det.visualization.curves import CURVES_NAME, draw_curves

from ..metrics import METRICS_NAME, read_records

logger = logging.getLogger(__name__)


class MetricsWriter(PeriodicWriter):
    """Detectron2's `PeriodicWriter`, which writes after every evaluation too.

    Where evaluations are more frequent than ``period``, Detectron2's writes only the last of them.

    Args:
        writers: where the metrics go.
        period: iterations.
        eval_period: iterations from one evaluation to the next; 0: there are none.
    """

    def __init__(
        self, writers: Sequence[EventWriter], *, period: int, eval_period: int = 0
    ) -> None:
        super().__init__(writers, period)
        self.eval_period = eval_period

    def after_step(self) -> None:
        """Write after each period and after each evaluation."""
        super().after_step()
        if self.eval_period and (self.trainer.iter + 1) % self.eval_period == 0:
            for writer in self._writers:
                if not isinstance(writer, CommonMetricPrinter):  # it has no metrics of evaluations
                    writer.write()


class DrawCurves(HookBase):
    """Hook that draws the metrics of a run as ``curves.png`` when it ends.

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
            draw_curves(read_records(self.output_dir / METRICS_NAME), path, self.names)
        except Exception as error:
            logger.warning("'%s' could not be drawn: %s", path, error)
