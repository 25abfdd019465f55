"""Hooks that send signals to their own process, as a scheduler or a lack of memory does."""

import os
import signal

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
