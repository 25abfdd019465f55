"""Metrics written out: metrics.json and trackers' own records, each iteration once."""

import json
import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils.events import CommonMetricPrinter, EventStorage

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError

from ..metrics import METRICS_NAME, read_records
from ..storage import WINDOW
from ..trackers import Trackers

logger = logging.getLogger(__name__)


class MetricsWriter(HookBase):
    """Writes metrics.json, what trackers record, and lines of the log, periodically.

    Everything is written after each evaluation too, pictures of the event storage to the trackers
    alone. metrics.json and TensorBoard's events are those of Detectron2's writers.
    What a resumed run writes again is removed from them first. Where a file cannot be written, the
    run goes on, and what is missing in metrics.json is tried again.

    Register it in every process; the main one writes.

    Args:
        folder: of the files; None: this process writes none.
        period: iterations.
        eval_period: iterations from one evaluation to the next; 0: there are none.
        max_iter: iterations of the run.
        trackers: names of `Trackers`.
        settings: of the run's config, which trackers get.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        period: int,
        eval_period: int = 0,
        max_iter: int | None = None,
        trackers: Sequence[str] = ("tensorboard",),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.period = period
        self.eval_period = eval_period
        self.last_written: int | None = None  # iteration; None: it is not known
        self._has_begun = False
        self._lines = _Lines(folder / METRICS_NAME) if folder else None
        self._trackers = Trackers(trackers, folder, settings) if folder else None
        self._printer = CommonMetricPrinter(max_iter)

    def before_train(self) -> None:
        """Remove what a resumed run writes again."""
        self._has_begun = True
        if self.last_written is None:
            self.last_written = self.trainer.start_iter - 1
        if self._lines is not None and self._trackers is not None:
            if self.trainer.start_iter > 0:
                self._lines.cut(self.last_written)
            self._trackers.open(self.last_written + 1)

    def after_step(self) -> None:
        """Write after each period and after each evaluation."""
        done = self.trainer.iter + 1
        if done % self.period == 0 or done == self.trainer.max_iter:
            if self.folder:
                self._printer.write()
            self._write()
        elif self.eval_period and done % self.eval_period == 0:
            self._write()

    def after_train(self) -> None:
        """Write what other hooks have added at the end, unless the training was refused."""
        if not self._has_begun:
            return
        self._write()
        if self._lines is not None and self._lines.waiting:
            logger.warning("%d records of metrics.json are lost", len(self._lines.waiting))
        if self._trackers is not None:
            self._trackers.close()

    def _write(self) -> None:
        records = list(self._new_records(self.trainer.storage))
        if self._lines is not None and self._trackers is not None:
            self._lines.write(records)
            self._trackers.write(records, self.trainer.storage._vis_data)
        self.trainer.storage.clear_images()

    def _new_records(self, storage: EventStorage) -> Iterator[dict[str, Any]]:
        """Yield what has not been written yet, by iteration."""
        by_iteration: dict[int, dict[str, Any]] = defaultdict(dict)
        for name, (value, iteration) in storage.latest_with_smoothing_hint(WINDOW).items():
            if self.last_written is None or iteration > self.last_written:
                by_iteration[iteration][name] = float(value)
        for iteration in sorted(by_iteration):
            self.last_written = iteration
            yield {**by_iteration[iteration], "iteration": iteration}

    def state_dict(self) -> dict[str, int]:
        """Return which records a checkpoint's run has written."""
        return {} if self.last_written is None else {"last_written": self.last_written}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the last record of a checkpoint."""
        self.last_written = int(state_dict["last_written"])


class _Lines:
    """metrics.json: a record per line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[str] = []  # lines that could not be written
        self.has_failed = False

    def cut(self, last: int) -> None:
        """Remove records after an iteration, and lines that an interruption has cut."""
        if not self.path.is_file():
            return
        kept = [r for r in read_records(self.path) if r["iteration"] <= last]
        try:
            with atomic_write(self.path) as partial:
                partial.write_text("".join(map(_as_line, kept)))
        except InputError as error:
            logger.warning("%s", error)

    def write(self, records: list[dict[str, Any]]) -> None:
        self.waiting += map(_as_line, records)
        if not self.waiting:
            return
        size = None
        try:
            with self.path.open("ab") as file:
                size = file.tell()
                file.write("".join(self.waiting).encode())
                file.flush()
            self.waiting = []
        except OSError as error:
            if not self.has_failed:
                text = "'%s' cannot be written (%s); training goes on, and it is tried again"
                logger.warning(text, self.path, error.strerror)
            self.has_failed = True
            self._restore(size)

    def _restore(self, size: int | None) -> None:
        """Remove a part of a line."""
        try:
            if size is not None:
                with self.path.open("rb+") as file:
                    file.truncate(size)
        except OSError:  # readers leave such lines out
            logger.debug("'%s' ends in a part of a line", self.path)


def _as_line(record: dict[str, Any]) -> str:
    """Return a record in JSON, which has no number for NaN and infinities; null takes its place."""
    numbers = {k: v if math.isfinite(v) else None for k, v in record.items()}
    return json.dumps(numbers, sort_keys=True, allow_nan=False) + "\n"
