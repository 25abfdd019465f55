"""Runs that are killed, resumed, and compared with one that nothing has interrupted.

A run is a child that is forked from this process, which has imported everything, so that it costs
seconds. It kills itself before a chosen file-system event, or is killed after a chosen time.
"""

import dataclasses
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import LazyConfig
from omegaconf import DictConfig

from bpt_det.cli.arguments import build_training_parser
from bpt_det.cli.launch import run_training_tool
from bpt_det.engine import read_result
from bpt_det.engine.metrics import read_records
from bpt_det.engine.storage import TIMES
from bpt_det.utils.errors import EXIT_BAD_INPUT

# What differs between two runs: who ran when, and how long it took.
_OF_THE_RUN = ("command", "started", "seconds", "iteration_seconds", "error")
_PER_PART = ("events.out.tfevents", "log.txt", "earlier_")  # names of files that a part may add
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Events:
    """Counts what a process does to the files below a folder, and kills it before one of them."""

    def __init__(self, folder: Path, kill_at: int | None = None, record: Path | None = None):
        self.prefix = str(folder)
        self.kill_at = kill_at
        self.count = 0
        self.record = None if record is None else os.open(record, os.O_WRONLY | os.O_CREAT)

    def __call__(self, event: str, args: tuple) -> None:
        """Take an audit event of Python's."""
        if event == "open":
            mode, flags = str(args[1] or ""), args[2] if isinstance(args[2], int) else 0
            if not (set(mode) & set("wax+") or flags & _WRITES):
                return
        elif event not in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            return
        if not str(args[0]).startswith(self.prefix):
            return
        self.count += 1
        if self.record is not None:
            os.write(self.record, f"{event} {str(args[0]).removeprefix(self.prefix)}\n".encode())
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass
class Run:
    """A training whose parts are processes.

    Args:
        folder: of the work; the run is in ``run`` below it.
        cfg: its config; `train.output_dir` is replaced.
    """

    folder: Path
    cfg: DictConfig

    def __post_init__(self) -> None:
        self.output = self.folder / "run"
        self.reference = self.folder / "reference"
        self.log = self.folder / "output.txt"
        self.cfg.train.output_dir = str(self.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        LazyConfig.save(self.cfg, str(self.folder / "config.yaml"))

    def start(self, *words: str, prepare: Callable[[], object] | None = None) -> int:
        """Start a part, and return its process id."""
        argv = ["--config-file", str(self.folder / "config.yaml"), *words]
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        status = 99
        try:
            os.setsid()  # a group of its own
            file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(file, 1), os.dup2(file, 2)
            sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)
            sys.stderr = sys.__stderr__ = open(2, "w", closefd=False)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if prepare is not None:
                prepare()
            status = run_training_tool(
                build_training_parser("train", "x").parse_intermixed_args(argv)
            )
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def run(self, *words: str, kill_at: int | None = None, record: Path | None = None) -> int:
        """Run a part to its end, or to a file-system event; return its exit status."""

        def prepare() -> None:
            if kill_at is not None or record is not None:
                sys.addaudithook(Events(self.output, kill_at, record))

        return wait_for(self.start(*words, prepare=prepare))

    def make_reference(self) -> int:
        """Make the uninterrupted run, and return how many file-system events it has."""
        record = self.folder / "events.txt"
        status = self.run(record=record)
        assert status == 0, self.log.read_text()
        shutil.rmtree(self.reference, ignore_errors=True)
        self.output.rename(self.reference)
        return len(record.read_text().splitlines())

    def clean(self) -> None:
        """Remove what earlier parts have left."""
        shutil.rmtree(self.output, ignore_errors=True)
        self.log.unlink(missing_ok=True)

    def finish(self, most: int = 3) -> None:
        """Resume until the run has ended."""
        for _ in range(most):
            if self.has_ended(self.run("--resume")):
                return
        raise AssertionError(self.log.read_text())

    def has_ended(self, status: int) -> bool:
        """Return whether a part with this exit status has ended the run, or came after its end."""
        if status != EXIT_BAD_INPUT:
            return status == 0
        return read_result(self.output).status in ("finished", "stopped_early")

    def differences(self) -> list[str]:
        """Return in what the run differs from the uninterrupted one."""
        return compare_runs(self.reference, self.output)


def wait_for(pid: int, timeout: float = 300.0) -> int:
    """Return the exit status of a child, negative for a signal; a hanging one is killed."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"process {pid} hangs")


def compare_runs(expected: Path, actual: Path) -> list[str]:
    """Return what differs: names of files, weights, optimizer, metrics, result."""
    names = [sorted(_names(folder)) for folder in (expected, actual)]
    problems = [] if names[0] == names[1] else [f"files {set(names[0]) ^ set(names[1])}"]
    for path in sorted(expected.glob("*.pth")):
        if (actual / path.name).is_file():
            contents = (torch.load(f / path.name, weights_only=True) for f in (expected, actual))
            problems += [f"{path.name}{where}" for where in _differing(*contents)]
    problems += _differing(*map(_metrics, (expected, actual)), "metrics.json")
    problems += _differing(*map(_result, (expected, actual)), "result.json")
    problems += _differing(*map(_scalars, (expected, actual)), "events")
    for name in ("last_checkpoint", "config.yaml"):
        if (expected / name).read_text() != (actual / name).read_text():
            problems.append(name)
    return problems


def _names(folder: Path) -> set[str]:
    paths = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return {name for name in paths if not name.startswith(_PER_PART)}


def _metrics(folder: Path) -> list[dict[str, Any]]:
    records = read_records(folder / "metrics.json")
    return [{k: v for k, v in r.items() if k not in TIMES} for r in records]


def _result(folder: Path) -> dict[str, Any]:
    result = dataclasses.asdict(read_result(folder))
    return {key: value for key, value in result.items() if key not in _OF_THE_RUN}


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    names = [name for name in events.Tags()["scalars"] if name not in TIMES]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def _differing(expected: Any, actual: Any, where: str = "") -> list[str]:
    """Return the places at which two nested contents differ, to the last bit."""
    if isinstance(expected, torch.Tensor):
        is_equal = isinstance(actual, torch.Tensor) and torch.equal(expected, actual)
        return [] if is_equal else [where]
    if type(expected) is not type(actual):
        return [where]
    if isinstance(expected, dict):
        keys = expected.keys() ^ actual.keys()
        both = [k for k in expected if k in actual]
        return [f"{where}:{key}" for key in keys] + [
            place for k in both for place in _differing(expected[k], actual[k], f"{where}.{k}")
        ]
    if isinstance(expected, list | tuple):
        if len(expected) != len(actual):
            return [f"{where}: {len(expected)} and {len(actual)} entries"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [place for i, (a, b) in pairs for place in _differing(a, b, f"{where}[{i}]")]
    is_nan = expected != expected and actual != actual
    return [] if expected == actual or is_nan else [f"{where}: {expected} and {actual}"]
