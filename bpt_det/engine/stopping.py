"""Stopping a run from outside: signals of a scheduler, Ctrl-C, and a limit of time."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from detectron2.utils import comm

from bpt_det.utils.errors import check_positive

# By the signal: the status of a run that it ends.
STATUSES = {
    signal.SIGTERM: "preempted",
    signal.SIGUSR1: "preempted",
    signal.SIGHUP: "preempted",
    signal.SIGINT: "interrupted",
    signal.SIGALRM: "time_limit",
}
# Seconds within which signals count as one: a scheduler may send it to all processes, and a
# launcher among them pass it on.
_AT_ONCE = 0.5
_MAX_HOURS = 1e5  # of a timer
_NAMES = {signal.SIGALRM: "train.max_time", signal.SIGINT: "Ctrl-C"}  # else that of the signal


class RunStopped(BaseException):
    """A run was asked to stop, and can be resumed.

    No `Exception`, so that code which goes on after one does not go on after this.

    Args:
        status: of the run, a key of `bpt_det.utils.errors.EXIT_STATUS`.
        message: what asked for it, and from where the run can go on.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class StopRequests:
    """Signals that end a run in order: a context manager around everything that the run does.

    Outside an iteration a signal raises `RunStopped` at once. Within `deferred` it only leaves a
    request, which the hook that saves checkpoints looks for after each iteration. A second signal
    ends the process as if nobody handled it.

    Args:
        max_hours: after which the run is asked to stop; None: never.

    Raises:
        InputError: ``max_hours`` is not a positive number.
    """

    def __init__(self, max_hours: float | None = None) -> None:
        if max_hours is not None:
            check_positive(
                "train.max_time", max_hours, "hours", most=_MAX_HOURS, alternative="null (no limit)"
            )
        self.max_hours = max_hours
        self.received: signal.Signals | None = None
        self._received_at = 0.0
        self._is_deferred = False
        self._process = os.getpid()
        self._earlier: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread may handle signals
        for number in STATUSES:
            if number != signal.SIGALRM or self.max_hours is not None:
                self._earlier[number] = signal.signal(number, self._handle)
        if self.max_hours is not None:
            signal.setitimer(signal.ITIMER_REAL, self.max_hours * 3600)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.max_hours is not None and self._earlier:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        is_second = self.received is not None and number != signal.SIGALRM
        if is_second and now - self._received_at < _AT_ONCE and os.getpid() == self._process:
            return
        if is_second or os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.received is None:
            self.received, self._received_at = signal.Signals(number), now
            if not self._is_deferred:
                raise self.error("no iteration was under way")

    def error(self, outcome: str) -> RunStopped:
        """Return what a run raises that stops because of the signal that was received."""
        number = self.received or signal.SIGTERM
        name = _NAMES.get(number, number.name)
        return RunStopped(STATUSES[number], f"stopped by {name}: {outcome}")

    @contextlib.contextmanager
    def deferred(self, is_deferred: bool = True) -> Iterator[None]:
        """Leave signals as requests; with False, raise `RunStopped` for an earlier one too."""
        earlier, self._is_deferred = self._is_deferred, is_deferred
        try:
            if not is_deferred and self.received is not None:
                raise self.error("no iteration was under way")
            yield
        finally:
            self._is_deferred = earlier

    def is_requested(self, device: torch.device) -> bool:
        """Return whether any process has received a signal; all processes must call it."""
        if comm.get_world_size() == 1:
            return self.received is not None
        number = torch.tensor([self.received or 0], dtype=torch.int32, device=device)
        dist.all_reduce(number, op=dist.ReduceOp.MAX)
        if not number.item():
            return False
        if self.received is None:  # its own may still be on the way
            self._received_at = time.monotonic()
        self.received = signal.Signals(int(number.item()))  # whichever process received it
        return True


@contextlib.contextmanager
def signals_to_children() -> Iterator[None]:
    """Hand on what a scheduler sends to this process, which only waits for those it has started.

    Ctrl-C is left alone: a terminal sends it to all of them.
    """
    earlier: dict[signal.Signals, Any] = {}

    def hand_on(number: int, frame: FrameType | None) -> None:
        children = multiprocessing.active_children()
        for child in children:
            if child.pid is not None:
                os.kill(child.pid, number)
        if not children:
            signal.signal(number, earlier[signal.Signals(number)])
            os.kill(os.getpid(), number)

    for number, status in STATUSES.items():
        if status == "preempted":
            earlier[number] = signal.signal(number, hand_on)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def ignore_stop_signals(*_: Any) -> None:
    """Ignore, in a loading process, what a scheduler or Ctrl-C sends to a whole group of processes.

    The main process needs its samples to finish the iteration, and ends it afterwards: by a second
    SIGTERM, if need be.
    """

    def end_next_time(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_next_time)
