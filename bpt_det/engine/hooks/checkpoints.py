"""Checkpoints of a run: when they are saved, which are kept, and how a run stops with one."""

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm

from bpt_det.utils.atomic import as_sentence
from bpt_det.utils.errors import InputError

from ..checkpoint import FINAL_NAME, FrozenAwareCheckpointer
from ..result import DivergenceError
from ..stopping import RunStopped, StopRequests

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"model_(\d{7})\.pth")


class SaveCheckpoints(HookBase):
    """Saves ``model_<iteration>.pth`` periodically, and ``model_final.pth`` at the end.

    A run that is asked to stop saves one too, and stops. A checkpoint that cannot be written is
    tried again; only the last one of a run must succeed.

    Register it in every process, before the hooks that evaluate: what comes after it is done again
    by a run that is resumed.

    Args:
        checkpointer: writes the files.
        period: iterations from one checkpoint to the next.
        max_to_keep: number of periodic checkpoints that are kept; None: all.
        retry_period: iterations until a checkpoint that could not be written is tried again.
        stops: asked after each iteration; None: nothing stops the run.
    """

    def __init__(
        self,
        checkpointer: FrozenAwareCheckpointer,
        *,
        period: int,
        max_to_keep: int | None = None,
        retry_period: int = 1,
        stops: StopRequests | None = None,
    ) -> None:
        self.checkpointer = checkpointer
        self.period = period
        self.max_to_keep = max_to_keep
        self.retry_period = retry_period
        self.stops = stops
        self.has_failed = False

    def after_step(self) -> None:
        """Save what is due; stop if that was asked for.

        Raises:
            RunStopped: the run was asked to stop.
            InputError: the last checkpoint of the run cannot be written.
        """
        trainer = self.trainer
        done = trainer.iter + 1
        is_done_again = trainer.iter < trainer.start_iter  # the checkpoint is where we come from
        if is_done_again:
            self._remove_old()
        elif done % self.period == 0:
            self._try_to_save()
        elif self.has_failed and done % self.retry_period == 0:
            self._try_to_save()
        if done >= trainer.max_iter:
            self.checkpointer.save(FINAL_NAME, iteration=trainer.iter)
        device = next(trainer.model.parameters(), torch.empty(0)).device
        if self.stops is not None and self.stops.is_requested(device):
            raise self.stop()

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """Let a signal end an evaluation at once, with a checkpoint of the iteration before it.

        Several processes cannot be stopped at the same place of it, and finish it.
        """
        if self.stops is None or comm.get_world_size() > 1:
            yield
            return
        try:
            with self.stops.deferred(False):
                yield
        except RunStopped:
            if self.trainer.is_stopped or self.trainer.iter >= self.trainer.max_iter:
                raise  # the last checkpoint has been saved
            raise self.stop() from None

    def stop(self) -> RunStopped:
        """Save a checkpoint of this iteration, and return what ends the run.

        Raises:
            InputError: the checkpoint cannot be written.
        """
        iteration = self.trainer.iter
        name = FINAL_NAME if iteration + 1 >= self.trainer.max_iter else f"model_{iteration:07d}"
        path = Path(self.checkpointer.save_dir) / f"{name}.pth"
        self._save(name)
        comm.synchronize()  # no process ends the others before the file is there
        self.trainer.stop()  # this iteration has been finished, and counts
        assert self.stops is not None
        return self.stops.error(f"the checkpoint '{path}' holds all {iteration + 1:,} iterations")

    def _try_to_save(self) -> None:
        try:
            self._save(f"model_{self.trainer.iter:07d}")
            if self.has_failed:
                logger.info("Checkpoints can be written again")
            self.has_failed = False
        except DivergenceError:
            raise
        except InputError as error:
            if not self.has_failed:
                logger.warning(
                    "%s Training goes on; the checkpoint is tried again every %d iterations.",
                    as_sentence(error),
                    self.retry_period,
                )
            self.has_failed = True

    def _save(self, name: str) -> None:
        self.checkpointer.save(name, iteration=self.trainer.iter)
        self._remove_old()

    def _remove_old(self) -> None:
        """Remove earlier checkpoints: of the periodic ones all but the last, others all."""
        if self.max_to_keep is None or not comm.is_main_process():
            return
        folder = Path(self.checkpointer.save_dir)
        numbers = [int(m[1]) for p in folder.iterdir() if (m := _NUMBERED.fullmatch(p.name))]
        # Later ones are of a run that has been resumed from an earlier one; they are written again.
        earlier = sorted(number for number in numbers if number < self.trainer.iter)
        periodic = [number for number in earlier if (number + 1) % self.period == 0]
        is_periodic = (self.trainer.iter + 1) % self.period == 0
        num_kept = self.max_to_keep - 1 if is_periodic else self.max_to_keep
        kept = periodic[len(periodic) - num_kept :] if num_kept < len(periodic) else periodic
        for number in set(earlier) - set(kept):
            (folder / f"model_{number:07d}.pth").unlink(missing_ok=True)
