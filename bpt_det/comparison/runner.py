"""Experiment runner: executes the runs as subprocesses, several at a time, and resumes them."""

import contextlib
import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import torch

from bpt_det.engine.checkpoint import LAST_CHECKPOINT
from bpt_det.engine.hooks.best import FINAL_NAME
from bpt_det.engine.result import RESULT_NAME, RunResult, read_result
from bpt_det.utils.errors import InputError, one_line
from bpt_det.utils.exit_status import EXIT_STATUS

from .experiment import Experiment, Method, Run
from .results import DIVERGED, ENDED, Result, choose_point, read_run, write_status

logger = logging.getLogger(__name__)

_RESUME = "--resume"
_MAX_STDERR = 1000  # characters of it in an error
_WAIT = 1.0  # seconds; a signal that comes just as a wait begins is seen only after it


def run_experiment(
    experiment: Experiment, output: Path, program: Sequence[str], *, jobs: int = 1
) -> list[Result]:
    """Execute all runs of an experiment that ``output`` does not hold yet; return all results.

    A run that was interrupted is resumed. With several jobs, each has its share of the cores.
    Ctrl-C terminates all of them; where a run fails, those at the same time run to their end.
    Its result.json in ``output`` holds the status and the results.

    Args:
        experiment: methods, grids and seeds.
        output: folder of the comparison; every run has a folder in it.
        program: words that start the command line of bpt_det, before the name of a command.
        jobs: runs at the same time.

    Raises:
        InputError: a run failed for another reason than divergence.
    """
    runner = _Runner(experiment, output, program, jobs)
    output.mkdir(parents=True, exist_ok=True)
    write_status(output, experiment, "running")
    status = "failed"
    try:
        runner.run_all()
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        write_status(output, experiment, status, runner.results)
    return runner.results


class _Runner:
    def __init__(
        self, experiment: Experiment, output: Path, program: Sequence[str], jobs: int
    ) -> None:
        self.experiment = experiment
        self.output = output
        self.program = list(program)
        self.jobs = jobs
        self.results: list[Result] = []
        self.children: set[subprocess.Popen] = set()  # of all threads
        self.is_ending = False

    def run_all(self) -> None:
        """Collect statistics, search the grids, and run every method with every seed."""
        for method in self.experiment.methods:  # first, as runs would each collect them
            self.collect_statistics(method)
        pool = ThreadPoolExecutor(self.jobs)
        try:
            try:
                self.run_grids_and_finals(pool)
            except Exception:
                pool.shutdown(cancel_futures=True)  # waits for those that run
                raise
        except KeyboardInterrupt:
            self.terminate_children()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def run_grids_and_finals(self, pool: ThreadPoolExecutor) -> None:
        experiment = self.experiment
        methods = experiment.methods
        self.run_together(pool, [run for m in methods for run in experiment.grid_runs(m)])
        points = [choose_point(experiment, method, self.results) for method in methods]
        finals = map(experiment.final_runs, methods, points)
        self.run_together(pool, [run for runs in finals for run in runs])

    def run_together(self, pool: ThreadPoolExecutor, runs: Sequence[Run]) -> None:
        futures = [pool.submit(self.run_one, run) for run in runs]
        for future in futures:
            while not future.done():
                wait([future], timeout=_WAIT)
            self.results.append(future.result())

    def run_one(self, run: Run) -> Result:
        """Run, or resume, what has not ended yet, and read its result."""
        folder = self.output / run.folder
        arguments = build_arguments(self.experiment, run, self.output)
        earlier = _read_earlier(folder, arguments)
        if earlier is None or earlier.status not in ENDED:
            self.train(folder, arguments, may_resume=earlier is not None)
        result = read_run(run, self.experiment.select, folder)
        value = result.status if result.selected is None else f"{result.selected:.2f}"
        logger.info("%s: %s %s", run.folder, self.experiment.select, value)
        return result

    def train(self, folder: Path, arguments: list[str], *, may_resume: bool) -> None:
        words = list(arguments)
        tag = folder / LAST_CHECKPOINT
        if may_resume and tag.is_file() and tag.read_text().strip() == f"{FINAL_NAME}.pth":
            logger.info("'%s' lacks its last evaluation and is run anew", folder)
            shutil.rmtree(folder)
        elif may_resume:  # before the first checkpoint, it starts anew
            words.append(_RESUME)
        self.execute(words, self.jobs, accepted=(0, EXIT_STATUS[DIVERGED]), folder=folder)

    def collect_statistics(self, method: Method) -> None:
        """Collect the token statistics of a method, unless there are none or they exist."""
        settings = self.experiment.statistics_setting(method, self.output)
        if all(path.exists() for path in settings.values()):
            return
        run = Run(method, {}, self.experiment.seeds[0], is_final=False)
        overrides = self.experiment.overrides(run, self.output)
        self.execute(["stats", "--config-file", method.config, *overrides], jobs=1)

    def execute(
        self,
        arguments: Sequence[str],
        jobs: int,
        accepted: Sequence[int] = (0,),
        folder: Path | None = None,
    ) -> None:
        """Run a command of bpt_det with its share of the cores.

        Args:
            arguments: the command and its arguments.
            jobs: commands that run at the same time.
            accepted: exit statuses that are no error.
            folder: of the run's result.json; None: the command writes none.

        Raises:
            InputError: it ended with another exit status; with the error in the result.json that
                it has written, or else with what it wrote to stderr.
        """
        before = None if folder is None else _write_time(folder)
        shown = shlex.join(["bpt-det", *arguments])
        logger.info("$ %s", shown)
        threads = max(1, torch.get_num_threads() // jobs)
        stderr, status = self.call([*self.program, *arguments], {"OMP_NUM_THREADS": str(threads)})
        if status not in accepted:
            error = None
            if folder is not None and _write_time(folder) != before:
                error = read_result(folder).error
            text = error or _end_of(stderr)
            raise InputError(f"`{shown}` ended with status {status}: {text}")

    def call(self, words: Sequence[str], variables: dict[str, str]) -> tuple[str, int]:
        """Run a program to its end; return what it wrote to stderr, and its exit status."""
        with subprocess.Popen(
            words,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            self.children.add(child)
            if self.is_ending:  # only now, so that `terminate_children` misses none
                child.terminate()
            try:
                stderr = _read_stderr(child)
            except BaseException:
                child.terminate()
                child.wait()
                raise
            finally:
                self.children.discard(child)
        return stderr, child.returncode

    def terminate_children(self) -> None:
        """Terminate the children that run, and each that is just being started."""
        self.is_ending = True
        for child in list(self.children):
            child.terminate()


def _read_stderr(child: subprocess.Popen) -> str:
    """Return what a child wrote to stderr when it has ended."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=_WAIT)[1]


def build_arguments(experiment: Experiment, run: Run, output: Path) -> list[str]:
    """Return the command and the arguments of a run."""
    overrides = experiment.overrides(run, output)
    return [experiment.command, "--config-file", run.method.config, *overrides]


def _write_time(folder: Path) -> int | None:
    """Return when a run's result.json was written last, in nanoseconds; None if there is none."""
    path = folder / RESULT_NAME
    return path.stat().st_mtime_ns if path.is_file() else None


def _end_of(stderr: str) -> str:
    """Return the last characters of what a program wrote to stderr, on one line."""
    text = one_line(stderr)
    return text if len(text) <= _MAX_STDERR else f"... {text[-_MAX_STDERR:]}"


def _read_earlier(folder: Path, arguments: list[str]) -> RunResult | None:
    """Return what a run has written; None if it has not begun.

    Raises:
        InputError: the folder is that of another run.
    """
    if not (folder / RESULT_NAME).is_file():
        return None
    result = read_result(folder)
    earlier = [word for word in result.command[1:] if word != _RESUME]
    if earlier != arguments:
        changed = next((new for new in arguments if new not in earlier), arguments[2])
        raise InputError(
            f"'{folder}' is of another run than the plan asks for ({changed}); choose another "
            "output folder, or delete the folders of the runs that have changed."
        )
    return result
