"""A hook that Detectron2's engine has, but forgets its best value on resume."""

import logging
import math
from pathlib import Path

from detectron2.engine import HookBase

from bpt_det.weights import read_weights

from .checkpointer import FrozenAwareCheckpointer

logger = logging.getLogger(__name__)

BEST_NAME = "model_best"


class BestCheckpoint(HookBase):
    """Keeps the checkpoint with the highest value of an evaluated metric as ``model_best.pth``.

    Detectron2's `BestCheckpointer` forgets the best value on resume and makes `--resume` continue
    from the best file instead of the last. Here the value is stored in the file itself. Register
    it after the hook that evaluates.

    Args:
        checkpointer: writes the file.
        metric: name in the event storage, for instance ``bbox/AP``; higher is better.
    """

    def __init__(self, checkpointer: FrozenAwareCheckpointer, metric: str) -> None:
        self.checkpointer = checkpointer
        self.metric = metric
        self.best_value = -math.inf
        self.seen_iteration = -1

    def before_train(self) -> None:
        """Take up the best value of the run that is resumed."""
        path = Path(self.checkpointer.save_dir) / f"{BEST_NAME}.pth"
        if self.trainer.start_iter > 0 and path.is_file():
            self.best_value = read_weights(str(path))["best"].get(self.metric, -math.inf)

    def after_step(self) -> None:
        """Save if an evaluation at this iteration was the best so far."""
        self._check()

    def after_train(self) -> None:
        """The last evaluation happens after training."""
        if self.trainer.iter >= self.trainer.max_iter:
            self._check()
            if self.metric not in self.trainer.storage.latest():
                logger.warning(
                    "No evaluation gave '%s': %s.pth is not kept", self.metric, BEST_NAME
                )

    def _check(self) -> None:
        value, iteration = self.trainer.storage.latest().get(self.metric, (math.nan, -1))
        if iteration <= self.seen_iteration or not value > self.best_value:
            self.seen_iteration = max(iteration, self.seen_iteration)
            return
        self.seen_iteration, self.best_value = iteration, value
        self.checkpointer.save(
            BEST_NAME, is_last=False, best={self.metric: value, "iteration": iteration}
        )
        logger.info("Best %s so far: %.3f at iteration %d", self.metric, value, iteration)
