"""Child processes of a comparison: run to their end from several threads, ended together."""

import contextlib
import os
import subprocess
from collections.abc import Sequence

WAIT = 1.0  # seconds; a signal that comes just as a wait begins is seen only after it


class ChildProcesses:
    """Programs that several threads run at the same time."""

    def __init__(self) -> None:
        self._children: set[subprocess.Popen] = set()
        self._is_ending = False

    def call(self, words: Sequence[str], variables: dict[str, str]) -> tuple[str, int]:
        """Run a program to its end; return what it wrote to stderr, and its exit status."""
        with subprocess.Popen(
            words,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            self._children.add(child)
            if self._is_ending:  # only now, so that `terminate` misses none
                child.terminate()
            try:
                stderr = _read_stderr(child)
            except BaseException:
                child.terminate()
                child.wait()
                raise
            finally:
                self._children.discard(child)
        return stderr, child.returncode

    def terminate(self) -> None:
        """Terminate the children that run, and each that is just being started."""
        self._is_ending = True
        for child in list(self._children):
            child.terminate()


def _read_stderr(child: subprocess.Popen) -> str:
    """Return what a child wrote to stderr when it has ended."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=WAIT)[1]
