"""Hooks that send signals to their own process, as a scheduler or a lack of memory does."""

import contextlib
import os
import shutil
import signal
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


class SpoilFolder(HookBase):
    """Fills the file system of a folder, or removes the folder, before an iteration.

    Args:
        fault: ``full`` or ``gone``.
        folder: of the run.
        iteration: before which it happens.
    """

    def __init__(self, fault, folder, iteration):
        self.fault = fault
        self.folder = Path(folder)
        self.filler = self.folder.with_name("filler")
        self.iteration = iteration

    def before_step(self):
        if self.trainer.iter != self.iteration:
            return
        if self.fault == "gone":
            shutil.rmtree(self.folder)
            return
        with contextlib.suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
