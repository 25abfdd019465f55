"""Hooks that trouble their own process, as a scheduler, a lack of memory or a slow disk does."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from detectron2.engine import HookBase
from detectron2.utils import comm


class KillOnce(HookBase):
    """Sends SIGKILL in one rank before an iteration; not after torchrun has started anew."""

    def __init__(self, rank, iteration):
        self.rank = rank
        self.iteration = iteration

    def before_step(self):
        is_first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if is_first and comm.get_rank() == self.rank and self.trainer.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)


class StopAtStart(HookBase):
    """Sends SIGTERM in one process before the first iteration."""

    def __init__(self, process):
        if comm.get_rank() == process:
            os.kill(os.getpid(), signal.SIGTERM)


class StopOnce(HookBase):
    """Sends SIGTERM in one process before an iteration."""

    def __init__(self, process, iteration):
        self.process = process
        self.iteration = iteration

    def before_step(self):
        if comm.get_rank() == self.process and self.trainer.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)


class SlowEvaluation(HookBase):
    """Lets one process take some seconds longer for its part of an evaluation."""

    def __init__(self, process, seconds):
        self.seconds = seconds if comm.get_rank() == process else 0

    def before_train(self):
        self.trainer.model.module.backbone.register_forward_pre_hook(self.wait)

    def wait(self, backbone, inputs):
        if not backbone.training:
            time.sleep(self.seconds)
            self.seconds = 0


class SpoilFolder(HookBase):
    """Fills the file system of a folder, or removes the folder, before an iteration.

    Args:
        fault: ``full`` or ``gone``.
        folder: of the run.
        iteration: before which it happens.
        until: iteration before which there is room again; None: there never is.
    """

    def __init__(self, fault, folder, iteration, until=None):
        self.until = until
        self.fault = fault
        self.folder = Path(folder)
        self.filler = self.folder.with_name("filler")
        self.iteration = iteration

    def before_step(self):
        if self.trainer.iter == self.until:
            self.filler.unlink(missing_ok=True)
        if self.trainer.iter != self.iteration:
            return
        if self.fault == "gone":
            shutil.rmtree(self.folder)
            return
        with contextlib.suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
