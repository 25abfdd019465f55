"""Result recorder: keeps the result.json of a run up to date, whichever way the run ends."""

import logging
import math
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from bpt_det.utils.errors import InputError, one_line

from ..processes import find_cause
from ..result import (
    RESULT_NAME,
    RunResult,
    find_versions,
    hash_config,
    read_result,
    status_of,
    was_interrupted,
)
from ..stopping import RunStopped
from ..summary import count_parameters
from .best import BestMetric

logger = logging.getLogger(__name__)


class ResultRecorder(HookBase):
    """Writes result.json as ``running``, after each evaluation, and with its status at the end.

    A context manager around everything that a run does, and a hook of its training: register it
    last, in every process; the main one writes. The result of a run that is to be resumed is not
    touched before its training begins again, so that a refusal leaves it as it is.

    Args:
        cfg: config with `train`.
        folder: of the file; None writes none.
        is_resumed: whether the folder holds an earlier part of the same run.
        metric: decides which evaluation is the best one; None: none is.
    """

    def __init__(
        self,
        cfg: DictConfig,
        folder: str | Path | None,
        *,
        is_resumed: bool = False,
        metric: BestMetric | None = None,
    ) -> None:
        self.folder = Path(folder) if folder and comm.is_main_process() else None
        self.is_resumed = is_resumed
        self.metric = metric
        self.has_begun = not is_resumed
        self._has_failed = False  # to write
        self.earlier_seconds = 0.0
        self.start_time: float | None = None  # of the training
        self.result = RunResult(
            best_metric=None if metric is None else metric.name,
            command=list(sys.argv),
            started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            config_hash=hash_config(cfg),
            versions=find_versions(),
        )

    def __enter__(self) -> "ResultRecorder":
        self._write_or_fail()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        error = find_cause(error)
        is_stopped = self.start_time is not None and self.trainer.is_stopped
        self.result.status = status_of(error, is_stopped=is_stopped)
        if was_interrupted(error) or isinstance(error, RunStopped):
            pass
        elif isinstance(error, InputError):
            self.result.error = one_line(error)
        elif isinstance(error, Exception):
            self.result.error = f"{type(error).__name__}: {one_line(error)}"
        self._measure()
        try:
            self._write_or_fail()
        except InputError as failure:
            if error is None:
                raise
            logger.warning("%s", failure)  # the run's own error is the one to report

    def count_parameters(self, model: nn.Module) -> None:
        """Record how many parameters of a model are trained and how many are not."""
        trained, frozen = count_parameters(model)
        self.result.trained_parameters, self.result.frozen_parameters = trained, frozen

    def before_train(self) -> None:
        """Continue the result of the earlier part of a resumed run; write that it is running."""
        result = self.result
        earlier = self._read_earlier()
        if earlier is not None:
            result.started, self.earlier_seconds = earlier.started, earlier.seconds
            result.metrics["last"] = earlier.metrics["last"]
            result.evaluated_after = earlier.evaluated_after
            if earlier.best_metric == result.best_metric:
                result.metrics["best"] = earlier.metrics["best"]
                result.best_iteration = earlier.best_iteration
        if (result.evaluated_after or 0) > self.trainer.start_iter:  # it is evaluated again
            result.metrics["last"], result.evaluated_after = {}, None
        self.has_begun = True
        self.start_time = time.perf_counter()
        result.max_iter = self.trainer.max_iter
        self._measure()
        self._write()

    def _read_earlier(self) -> RunResult | None:
        if not self.is_resumed or not self.folder or not (self.folder / RESULT_NAME).is_file():
            return None
        try:
            return read_result(self.folder)
        except InputError as error:
            logger.warning("%s", error)
            return None

    def known_evaluation(self) -> dict[str, dict[str, Any]] | None:
        """Return the metrics by task of the evaluation that is due, if a killed run has done it.

        All processes must call it; they get the same.
        """
        if self.num_done() != self.trainer.start_iter:  # only what is due right after a resume
            return None
        known = None
        if self.result.evaluated_after == self.trainer.start_iter:
            known = _by_task(self.result.metrics["last"])
        return comm.all_gather(known)[0]

    def num_done(self) -> int:
        """Return the number of iterations that have been done."""
        return min(self.trainer.iter + 1, self.trainer.max_iter)

    def add_evaluation(self, results: Mapping[str, Any]) -> None:
        """Record the metrics by task of an evaluation; called where the evaluation happens."""
        metrics = flatten_results_dict(results)
        if not metrics:  # of another process than the main one
            return
        self.result.metrics["last"] = metrics
        self.result.evaluated_after = self.num_done()
        value = metrics.get(self.metric.name) if self.metric else None
        if self.metric and value is not None:
            best = self.result.metrics["best"].get(self.metric.name)
            if self.metric.is_better(value, self.metric.worst if best is None else best):
                self.result.metrics["best"] = metrics
                self.result.best_iteration = self.trainer.storage.iter
        self._measure()
        self._write()

    def add_final_test(self, results: Mapping[str, Any]) -> None:
        """Record the metrics by task of the final test; the end of the run writes them."""
        self.result.metrics["final"] = flatten_results_dict(results)

    def _measure(self) -> None:
        """Update the counts and times of training."""
        if self.start_time is None:
            return
        trainer, result = self.trainer, self.result
        result.seconds = self.earlier_seconds + time.perf_counter() - self.start_time
        result.iterations = min(trainer.iter + trainer.is_stopped, trainer.max_iter)
        times = trainer.storage.histories().get("time")
        if times is not None:
            result.iteration_seconds = median(value for value, _ in times.values())

    def _write(self) -> None:
        """Write; a run that goes on does so without."""
        try:
            self._write_or_fail()
        except InputError as error:
            if not self._has_failed:
                logger.warning("%s; training goes on", one_line(error).rstrip(".?"))
            self._has_failed = True

    def _write_or_fail(self) -> None:
        if self.folder is not None and self.has_begun:
            self.result.write(self.folder)


def _by_task(metrics: Mapping[str, float | None]) -> dict[str, dict[str, float]]:
    """Return flat metrics, as result.json holds them, by task."""
    tasks: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        task, _, metric = name.partition("/")
        tasks.setdefault(task, {})[metric] = math.nan if value is None else value
    return tasks
