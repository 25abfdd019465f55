"""Carrying out the runs of a comparison, each as a user would, and reading what they found."""

import json
import logging
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from bpt_det.engine.hooks.best import FINAL_NAME
from bpt_det.engine.metrics import read_records
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError, one_line

from . import subprocesses as children
from .experiment import Method, Plan, Run, Settings

logger = logging.getLogger(__name__)

STATE_NAME = "run.json"  # the command of a run and how far it is, in its folder
_BEGUN, _FINISHED, _DIVERGED = "begun", "finished", "diverged"
ROOT = Path(__file__).resolve().parents[2]
# What a run ends with where a loss, a gradient or a weight is no number any more.
_DIVERGENCE = re.compile(r"^error: .*(; training stopped\.|became NaN or infinite)", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """What a run found.

    Args:
        selected: highest value of the plan's ``select``; None if the run diverged, or if it never
            had a value, as the AP where nothing is predicted.
        metrics: the last value of each metric.
        num_trained: trained parameters.
        seconds: time of its iterations.
    """

    selected: float | None
    metrics: dict[str, float]
    num_trained: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A run and what it found."""

    run: Run
    result: Result


def perform(plan: Plan, output: Path, *, jobs: int = 1) -> list[Outcome]:
    """Carry out all runs of a plan that ``output`` does not hold yet; return all outcomes.

    A run that was interrupted is resumed. With several jobs each has its share of the cores. Ctrl-C
    ends all of them; where one fails, those at the same time are carried through.

    Raises:
        InputError: a run failed for another reason than a loss that is not finite.
    """
    for method in plan.methods:  # first, as runs at the same time would each collect them
        _collect_statistics(plan, method, output)
    with ThreadPoolExecutor(jobs) as pool:
        grids = [run for method in plan.methods for run in plan.grid_runs(method)]
        tried = _perform_all(pool, plan, grids, output, jobs)
        finals = [
            run
            for method in plan.methods
            for run in plan.final_runs(method, choose(plan, method, tried))
        ]
        return tried + _perform_all(pool, plan, finals, output, jobs)


def choose(plan: Plan, method: Method, tried: Sequence[Outcome]) -> Settings:
    """Return the point of a method's grid whose run has the best value of ``select``.

    Raises:
        InputError: every run diverged.
    """
    of_method = [outcome for outcome in tried if outcome.run.method == method]
    if not of_method:
        return plan.only_choice(method)
    finished = [outcome for outcome in of_method if outcome.result.selected is not None]
    if not finished:
        raise InputError(
            f"every run of {method.name} diverged, or has no {plan.select}; give it lower rates in "
            "the grid of the plan."
        )
    return max(finished, key=lambda outcome: outcome.result.selected).run.choice


def command_of(plan: Plan, run: Run, output: Path) -> list[str]:
    """Return the command of a run, without its interpreter."""
    tool = [f"tools/{plan.tool}.py", "--config-file", run.method.config]
    return [*tool, *plan.overrides(run, output)]


def _perform_all(
    pool: ThreadPoolExecutor, plan: Plan, runs: Sequence[Run], output: Path, jobs: int
) -> list[Outcome]:
    futures = []
    with _ended_together(futures):
        futures += (pool.submit(_perform_run, plan, run, output, jobs) for run in runs)
        return [Outcome(run, f.result()) for run, f in zip(runs, futures, strict=True)]


@contextmanager
def _ended_together(futures: list[Future]) -> Iterator[None]:
    """After an error begin nothing more; an interrupt ends the commands that run as well."""
    try:
        try:
            yield
        except Exception:
            _cancel(futures)
            wait(futures)
            raise
    except KeyboardInterrupt:
        _cancel(futures)
        children.end_all()
        while wait(futures, timeout=1).not_done:  # a thread may have been about to start one
            children.end_all()
        raise


def _cancel(futures: Sequence[Future]) -> None:
    for future in futures:
        future.cancel()


def _perform_run(plan: Plan, run: Run, output: Path, jobs: int) -> Result:
    folder = output / run.folder
    command = command_of(plan, run, output)
    state = _read_state(folder / STATE_NAME, command)
    if state not in (_FINISHED, _DIVERGED):
        state = _carry_out(folder, command, is_begun=state == _BEGUN, jobs=jobs)
    result = read_result(plan.select, folder, has_diverged=state == _DIVERGED)
    value = state if result.selected is None else f"{result.selected:.2f}"
    logger.info("%s: %s %s", run.folder, plan.select, value)
    return result


def _carry_out(folder: Path, command: list[str], *, is_begun: bool, jobs: int) -> str:
    """Run a command, or resume it; return how it ended."""
    arguments = list(command)
    if is_begun:
        tag = folder / "last_checkpoint"
        if tag.is_file() and tag.read_text().strip() == f"{FINAL_NAME}.pth":
            logger.info("'%s' lacks its last evaluation and is run anew", folder)
            shutil.rmtree(folder)
        else:  # before the first checkpoint, it starts anew
            arguments.append("--resume")
    _write_state(folder / STATE_NAME, command, _BEGUN)
    logger.info("$ python %s", shlex.join(arguments))
    lines, status = _call(arguments, jobs)
    has_diverged = bool(_DIVERGENCE.search(lines))
    if status and not has_diverged:
        raise _failure(arguments, lines, status)
    state = _DIVERGED if has_diverged else _FINISHED
    _write_state(folder / STATE_NAME, command, state)
    return state


def _write_state(path: Path, command: list[str], state: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(json.dumps({"command": command, "state": state}))


def _read_state(path: Path, command: list[str]) -> str | None:
    """Return how far a run is; None if it has not begun.

    Raises:
        InputError: the folder is that of another run.
    """
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    if content["command"] != command:
        changed = next((new for new in command if new not in content["command"]), command[2])
        raise InputError(
            f"'{path}' is of another run than the plan asks for ({changed}); choose another "
            "--output, or delete the folders of the runs that have changed."
        )
    return content["state"]


def read_result(select: str, folder: Path, *, has_diverged: bool = False) -> Result:
    """Return what a finished run has written.

    Raises:
        InputError: it has no value of the metric that chooses.
    """
    records = list(read_records(folder / "metrics.json"))
    metrics = {key: value for record in records for key, value in record.items() if "/" in key}
    found = [record[select] for record in records if select in record]
    if not found and not has_diverged:
        raise InputError(f"'{folder}/metrics.json' holds no {select}; correct plan.select.")
    values = [value for value in found if math.isfinite(value)]
    log = (folder / "log.txt").read_text(errors="replace")
    counted = re.search(r"Parameters: ([\d,]+) trained", log)
    times = [record["time"] for record in records if "time" in record]
    last = max((record["iteration"] for record in records), default=0)
    return Result(
        selected=None if has_diverged or not values else max(values),
        metrics=metrics,
        num_trained=int(counted[1].replace(",", "")) if counted else 0,
        seconds=median(times) * (last + 1) if times else 0.0,
    )


def _collect_statistics(plan: Plan, method: Method, output: Path) -> None:
    """Collect the token statistics of a method, unless there are none or they are there."""
    if all(path.exists() for path in plan.statistics_setting(method, output).values()):
        return
    run = Run(method, {}, plan.seeds[0], is_final=False)
    command = ["tools/collect_statistics.py", "--config-file", method.config]
    command += plan.overrides(run, output)
    logger.info("$ python %s", shlex.join(command))
    lines, status = _call(command, jobs=1)
    if status:
        raise _failure(command, lines, status)


def _failure(command: Sequence[str], lines: str, status: int) -> InputError:
    errors = [line for line in lines.splitlines() if line.startswith("error: ")]
    text = errors[0] if errors else one_line(lines[-300:])
    return InputError(f"`python {shlex.join(command)}` ended with status {status}: {text}")


def _call(command: Sequence[str], jobs: int) -> tuple[str, int]:
    """Run a command of the repository; return what it wrote to stderr, and its status."""
    threads = max(1, torch.get_num_threads() // jobs)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return children.call([sys.executable, *command], cwd=ROOT, env=environment)
