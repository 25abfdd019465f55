"""Best checkpoint and early stopping: hooks that follow the best value of an evaluated metric."""

import copy
import logging
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig, OmegaConf

from bpt_det.utils.atomic import as_sentence
from bpt_det.utils.errors import InputError, one_line

from ..checkpoint import BEST_NAME, FINAL_NAME, FrozenAwareCheckpointer, read_checkpoint

logger = logging.getLogger(__name__)

_WORST = {"max": -math.inf, "min": math.inf}


@dataclass(frozen=True)
class BestMetric:
    """Metric that decides: its name in the event storage, and whether the highest value is best.

    Raises:
        InputError: the mode is neither ``max`` nor ``min``.
    """

    name: str
    mode: str = "max"

    def __post_init__(self) -> None:
        if self.mode not in _WORST:
            raise InputError(f"mode of the best metric must be max or min, got '{self.mode}'.")

    @property
    def worst(self) -> float:
        """The value that every number improves on."""
        return _WORST[self.mode]

    def is_better(self, value: float, best: float) -> bool:
        """Return whether a value improves on the best so far; NaN never does."""
        return value > best if self.mode == "max" else value < best


def evaluated_metrics(storage: EventStorage) -> list[str]:
    """Return the names of the metrics that evaluations have added to an event storage.

    They are those of a task (``bbox/AP``) whose values are not smoothed over iterations.
    """
    is_smoothed = storage.smoothing_hints()
    return sorted(name for name in storage.latest() if "/" in name and not is_smoothed[name])


def _metric_names(storage: EventStorage) -> str:
    return ", ".join(evaluated_metrics(storage)) or "(there are none)"


def best_of(checkpoint: Mapping[str, Any], path: Path) -> dict:
    """Return what a best checkpoint says of its metric: ``metric``, ``mode``, ``value``.

    Args:
        checkpoint: content of the file.
        path: of the file, for the message.

    Raises:
        InputError: it says nothing of it.
    """
    best = checkpoint.get("best")
    best = best if isinstance(best, dict) else {}
    if not {"metric", "mode"} <= set(best) or not isinstance(best.get("value"), float | int):
        raise InputError(f"'{path}' does not say which value of which metric is its best.")
    return best


class BestCheckpoint(HookBase):
    """Hook that keeps the checkpoint with the best value of a metric as ``model_best.pth``.

    Detectron2's `BestCheckpointer` forgets the best value on resume, and a resumed run continues
    from its file instead of the last one. Here the value is stored in the file itself. What cannot
    be written is kept in memory and tried again; only at the end of a run must it succeed.
    Register it after the hooks that save checkpoints and that evaluate.

    Args:
        checkpointer: writes the file.
        metric: what decides.
        retry_period: iterations until a file that could not be written is tried again.
    """

    def __init__(
        self, checkpointer: FrozenAwareCheckpointer, metric: BestMetric, *, retry_period: int = 1
    ) -> None:
        self.checkpointer = checkpointer
        self.metric = metric
        self.retry_period = retry_period
        self.unwritten: dict | None = None  # content of a file that is to be written
        self.has_failed = False
        self.best_value = metric.worst
        self.seen_iteration = -1

    def before_train(self) -> None:
        """Read the best value of the run that is resumed."""
        path = Path(self.checkpointer.save_dir) / f"{BEST_NAME}.pth"
        if self.trainer.start_iter == 0 or not path.is_file():
            return
        try:
            best = best_of(read_checkpoint(str(path)), path)
        except InputError as error:
            logger.warning("%s; the next evaluation writes it anew", one_line(error).rstrip("."))
            return
        if (best["metric"], best["mode"]) == (self.metric.name, self.metric.mode):
            self.best_value = best["value"]

    def after_step(self) -> None:
        """Save if an evaluation at this iteration was the best so far."""
        is_new = self._is_best()
        is_due = (self.trainer.iter + 1) % self.retry_period == 0
        if is_new or (is_due and self.unwritten is not None):
            self._try_to_write(is_new=is_new)

    def after_train(self) -> None:
        """The last evaluation happens after training.

        Raises:
            InputError: the run has come to its end, and its best checkpoint cannot be written.
        """
        is_finished = self.trainer.iter >= self.trainer.max_iter
        is_new = is_finished and self._is_best()
        if self.unwritten is not None:
            is_end = is_finished or self.trainer.is_stopped
            if is_end and sys.exc_info()[0] is None:
                self.checkpointer.write(BEST_NAME, self.unwritten, is_last=False)
            else:
                self._try_to_write(is_new=is_new)
        if is_finished:
            if self.metric.name not in self.trainer.storage.latest():
                logger.warning(
                    "No evaluation gave '%s': %s.pth is not kept. Set train.best_metric to one of: "
                    "%s",
                    self.metric.name,
                    BEST_NAME,
                    _metric_names(self.trainer.storage),
                )
            elif self.best_value == self.metric.worst:
                logger.warning(
                    "'%s' was never a number, as where no image has an object of the kind: %s.pth "
                    "is not kept. Set train.best_metric to another one of: %s",
                    self.metric.name,
                    BEST_NAME,
                    _metric_names(self.trainer.storage),
                )

    def _is_best(self) -> bool:
        """Return whether there is a new best value; its checkpoint is to be written."""
        latest = self.trainer.storage.latest()
        value, iteration = latest.get(self.metric.name, (math.nan, -1))
        is_new = iteration > self.seen_iteration
        self.seen_iteration = max(iteration, self.seen_iteration)
        if not is_new or not self.metric.is_better(value, self.best_value):
            return False
        self.best_value = value
        metric = {"metric": self.metric.name, "mode": self.metric.mode}
        best = {**metric, "value": value, "iteration": iteration}
        logger.info("Best %s so far: %.3f", self.metric.name, value)
        self.unwritten = self.checkpointer.content(BEST_NAME, best=best)
        return True

    def _try_to_write(self, *, is_new: bool) -> None:
        assert self.unwritten is not None
        try:
            self.checkpointer.write(BEST_NAME, self.unwritten, is_last=False)
        except InputError as error:
            if not self.has_failed:
                logger.warning(
                    "%s Training goes on; this best checkpoint is kept in memory and tried again "
                    "every %d iterations.",
                    as_sentence(error),
                    self.retry_period,
                )
            if is_new:
                self.unwritten = copy.deepcopy(self.unwritten)  # training changes its tensors
            self.has_failed = True
            return
        if self.has_failed:
            logger.info("The best checkpoint can be written again")
        self.unwritten, self.has_failed = None, False


class EarlyStopping(HookBase):
    """Hook that ends a run when evaluations no longer improve a metric.

    Its state is part of the checkpoint, so a resumed run decides as an uninterrupted one does.
    Register it in every process, after the hook that evaluates.

    Args:
        checkpointer: writes ``model_final.pth`` where the run ends.
        metric: what decides; evaluations that lack it do not count.
        patience: number of evaluations in a row without improvement after which the run ends.
        eval_period: iterations from one evaluation to the next.
        has_ended: whether the run that is resumed had come to its end.
    """

    def __init__(
        self,
        checkpointer: FrozenAwareCheckpointer,
        metric: BestMetric,
        *,
        patience: int,
        eval_period: int,
        has_ended: bool = False,
    ) -> None:
        self.has_ended = has_ended
        self.checkpointer = checkpointer
        self.metric = metric
        self.patience = patience
        self.eval_period = eval_period
        self.best_value = metric.worst
        self.num_without_best = 0
        self.counted_iteration = -1  # of the last evaluation that was counted

    @property
    def is_exhausted(self) -> bool:
        """Whether there was no improvement for so many evaluations that the run ends."""
        return self.num_without_best >= self.patience

    def check_start(self) -> None:
        """Refuse to continue a run that has been stopped, and has written all that is to come.

        Call it when the checkpoint is loaded, before the training.

        Raises:
            InputError: the checkpoint that it resumes from is of a run that stopped early.
        """
        if self.is_exhausted and self.has_ended:
            raise InputError(
                f"'{self.checkpointer.save_dir}' was stopped early: no improvement of "
                f"{self.metric.name} over {self.best_value:.3f} for {self.num_without_best} "
                "evaluations; raise train.early_stopping.patience to go on, or only evaluate it.",
                hint="evaluate_last",
            )

    def after_step(self) -> None:
        """Count an evaluation at this iteration, and stop if it was one too many."""
        next_iteration = self.trainer.iter + 1
        if next_iteration % self.eval_period or next_iteration == self.trainer.max_iter:
            return  # the last evaluation happens after training
        if comm.is_main_process():
            self._count()
        if not comm.all_gather(self.is_exhausted)[0]:  # only the main process has the metrics
            return
        logger.info(
            "Stopping early at iteration %d: no improvement of %s over %.3f for %d evaluations "
            "(train.early_stopping.patience)",
            self.trainer.iter,
            self.metric.name,
            self.best_value,
            self.num_without_best,
        )
        self.checkpointer.save(FINAL_NAME, iteration=self.trainer.iter)
        self.trainer.stop()

    def _count(self) -> None:
        storage = self.trainer.storage
        if self.counted_iteration == self.trainer.iter:  # before the run was resumed
            return
        value, iteration = storage.latest().get(self.metric.name, (math.nan, -1))
        if iteration != self.trainer.iter:
            logger.warning(
                "The evaluation gave no '%s', so it does not count for train.early_stopping. Set "
                "train.best_metric to one of: %s",
                self.metric.name,
                _metric_names(storage),
            )
            return
        self.counted_iteration = iteration
        if self.metric.is_better(value, self.best_value):
            self.best_value, self.num_without_best = value, 0
        else:
            self.num_without_best += 1

    def state_dict(self) -> dict:
        """Return what the next decisions depend on."""
        return {
            "metric": (self.metric.name, self.metric.mode),
            "best_value": self.best_value,
            "num_without_best": self.num_without_best,
            "counted_iteration": self.counted_iteration,
        }

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue counting, unless the metric has been changed."""
        if tuple(state_dict["metric"]) == (self.metric.name, self.metric.mode):
            self.best_value = state_dict["best_value"]
            self.num_without_best = state_dict["num_without_best"]
            self.counted_iteration = state_dict["counted_iteration"]


def build_early_stopping(
    settings: DictConfig,
    checkpointer: FrozenAwareCheckpointer,
    metric: BestMetric,
    *,
    has_ended: bool = False,
) -> EarlyStopping | None:
    """Return the hook that `train.early_stopping.patience` asks for, or None."""
    patience = OmegaConf.select(settings, "early_stopping.patience")
    if patience is None:
        return None
    period = settings.eval_period
    return EarlyStopping(
        checkpointer, metric, patience=patience, eval_period=period, has_ended=has_ended
    )
