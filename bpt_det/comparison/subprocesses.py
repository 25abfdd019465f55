"""Commands in processes of their own that end where the wait for them is interrupted."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_running: set[subprocess.Popen] = set()  # of all threads


def call(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> tuple[str, int]:
    """Run a command; return what it wrote to stderr, and its status."""
    with subprocess.Popen(
        arguments, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        _running.add(child)
        try:
            _, lines = child.communicate()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        finally:
            _running.discard(child)
    return lines, child.returncode


def end_all() -> None:
    """Ask every command that `call` waits for in a thread to end."""
    for child in list(_running):
        child.terminate()
