"""Final test: one evaluation of the best or the last weights on the held-out test split."""

import contextlib
import copy
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

from bpt_det.utils.errors import InputError

from ..checkpoint import BEST_NAME, FrozenAwareCheckpointer
from ..ema import EMA
from ..model_state import trained_state
from .best import best_of

logger = logging.getLogger(__name__)


class FinalTest(HookBase):
    """Evaluates ``model_best.pth`` after the last iteration; without such a file, the last weights.

    The metrics go into the event storage, unsmoothed, and the model gets its weights back. Register
    it in every process, after `BestCheckpoint` and before the hook that writes the metrics, and
    raise its ``error`` after the training.

    Args:
        evaluate: evaluates the checkpointer's model as it is, and returns metrics by task.
        checkpointer: of the run; with averages if these are evaluated too.
        use_best: False tests the last weights.

    Attributes:
        error: what has stopped the test, for instance an image that cannot be read.
    """

    def __init__(
        self,
        evaluate: Callable[[], dict],
        checkpointer: FrozenAwareCheckpointer,
        *,
        use_best: bool = True,
    ) -> None:
        self.use_best = use_best
        self.evaluate = evaluate
        self.checkpointer = checkpointer
        self.error: InputError | None = None

    def after_train(self) -> None:
        """Evaluate, if the run has come to its end and did not fail."""
        trainer = self.trainer
        is_finished = trainer.is_stopped or trainer.iter >= trainer.max_iter
        if not is_finished or sys.exc_info()[0] is not None:
            return
        comm.synchronize()  # the main process has written the best checkpoint by now
        try:
            with self._best_weights() if self.use_best else contextlib.nullcontext():
                results = self.evaluate()
        except InputError as error:  # what was trained and validated is written first
            self.error = error
            return
        # Writers leave out an iteration that they have written, which a stopped run's last may be.
        iteration = trainer.storage.iter
        trainer.storage.iter = min(trainer.iter + 1, trainer.max_iter)
        trainer.storage.put_scalars(**flatten_results_dict(results), smoothing_hint=False)
        trainer.storage.iter = iteration
        comm.synchronize()

    @contextlib.contextmanager
    def _best_weights(self) -> Iterator[None]:
        path = Path(self.checkpointer.save_dir) / f"{BEST_NAME}.pth"
        if not path.is_file():
            logger.info("Final test of the last weights, as there is no %s", path.name)
            yield
            return
        model = self.checkpointer.model
        ema = self.checkpointer.checkpointables.get(EMA)
        weights = {name: t.to("cpu", copy=True) for name, t in trained_state(model).items()}
        averages = None if ema is None else copy.deepcopy(ema.state_dict())
        try:
            content = self.checkpointer.load(str(path), [] if ema is None else [EMA])
            best = best_of(content, path)
            text = "Final test of %s, whose %s is %.3f"
            logger.info(text, path.name, best["metric"], best["value"])
            yield
        finally:
            model.load_state_dict(weights, strict=False)
            if ema is not None:
                ema.load_state_dict(averages)
