"""Experiment runner: executes the runs as subprocesses, several at a time, and resumes them."""

import contextlib
import logging
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import torch

from bpt_det.engine.result import RESULT_NAME, read_result, status_of
from bpt_det.engine.stopping import RunStopped
from bpt_det.utils.errors import EXIT_STATUS, InputError, one_line, status_of_exit

from .children import WAIT, ChildProcesses
from .experiment import Experiment, Method, Run
from .results import (
    DIVERGED,
    ENDED,
    RESUME,
    Result,
    choose_point,
    estimate_seconds,
    format_hours,
    read_earlier,
    read_run,
    write_status,
)

logger = logging.getLogger(__name__)

_MAX_STDERR = 1000  # characters of it in an error


def run_experiment(
    experiment: Experiment,
    output: Path,
    program: Sequence[str],
    *,
    jobs: int = 1,
    only: Sequence[str] | None = None,
    report: Callable[[list[Result]], None] | None = None,
) -> list[Result]:
    """Execute all runs of an experiment that ``output`` does not hold yet; return all results.

    A method's runs begin in the order of the methods, its final runs when its grid search has
    ended. A run that was interrupted is resumed. With several jobs, each has its share of the
    cores. Ctrl-C terminates all of them; where a run fails, those at the same time run to their
    end. The experiment's result.json in ``output`` holds the status and the results so far.

    Args:
        experiment: methods, grids and seeds.
        output: folder of the comparison; every run has a folder in it.
        program: words that start the command line of bpt_det, before the name of a command.
        jobs: runs at the same time.
        only: names of the methods to run; of others, the results that ``output`` holds count.
            Calls for different methods may share ``output``. None: all.
        report: called with all results whenever a method has ended.

    Raises:
        InputError: a run failed for another reason than divergence.
        RunStopped: a run was stopped from outside.
    """
    runner = _Runner(experiment, output, program, jobs, only)
    output.mkdir(parents=True, exist_ok=True)
    write_status(output, experiment, "running", runner.all_results())
    status = "failed"
    try:
        runner.run_all(report)
        status = "finished"
    except (KeyboardInterrupt, RunStopped) as error:
        status = status_of(error)
        raise
    finally:
        results = runner.all_results()
        write_status(output, experiment, status, results)
    return results


class _Runner:
    def __init__(
        self,
        experiment: Experiment,
        output: Path,
        program: Sequence[str],
        jobs: int,
        only: Sequence[str] | None,
    ) -> None:
        self.experiment = experiment
        self.output = output
        self.program = list(program)
        self.jobs = jobs
        self.methods = [m for m in experiment.methods if only is None or m.name in only]
        self.results: list[Result] = []  # of these methods
        self.children = ChildProcesses()

    def run_all(self, report: Callable[[list[Result]], None] | None) -> None:
        """Collect statistics, search the grids, and run every method with every seed."""
        for method in self.methods:  # first, as runs would each collect them
            self.collect_statistics(method)
        pool = ThreadPoolExecutor(self.jobs)
        try:
            try:
                self.run_in_order(pool, report)
            except Exception:
                pool.shutdown(cancel_futures=True)  # waits for those that run
                raise
        except (KeyboardInterrupt, RunStopped):
            self.children.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def run_in_order(
        self, pool: ThreadPoolExecutor, report: Callable[[list[Result]], None] | None
    ) -> None:
        """Run what is ready, earlier methods first; final runs are when their grid has ended."""
        waiting: list[list[Run]] = [self.first_runs(method) for method in self.methods]
        running: dict[Future[Result], int] = {}
        while any(waiting) or running:
            for index, runs in enumerate(waiting):
                while runs and len(running) < self.jobs:
                    running[pool.submit(self.run_one, runs.pop(0))] = index
            for future in wait(running, timeout=WAIT, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                method = self.methods[index]
                result = future.result()
                self.results.append(result)
                self.log_progress(result)
                write_status(self.output, self.experiment, "running", self.all_results())
                if waiting[index] or index in running.values():
                    continue
                if not result.run.is_final:
                    waiting[index] = self.chosen_runs(method)
                elif report is not None:
                    report(self.all_results())

    def first_runs(self, method: Method) -> list[Run]:
        """Return the runs of a method's grid, or where there is no choice its final ones."""
        experiment = self.experiment
        grid = experiment.grid_runs(method)
        return grid or experiment.final_runs(method, experiment.only_point(method))

    def chosen_runs(self, method: Method) -> list[Run]:
        """Return the final runs of a method whose grid search has ended."""
        point = choose_point(self.experiment, method, self.results)
        for key, value in self.experiment.at_end_of_grid(method, point).items():
            logger.warning(
                "%s: %s=%s was chosen, at the end of its grid; values beyond it may be better",
                method.name,
                key,
                value,
            )
        return self.experiment.final_runs(method, point)

    def all_results(self) -> list[Result]:
        """Return the results of all methods, in their order: grid searches, then final runs."""
        others = [m for m in self.experiment.methods if m not in self.methods]
        results = [*self.results, *(r for m in others for r in self.read_ended(m))]
        return sorted(results, key=lambda r: self.position(r.run))

    def position(self, run: Run) -> tuple[bool, int, int]:
        """Return what results are sorted by, whichever run has ended first."""
        method, experiment = run.method, self.experiment
        same = experiment.final_runs(method, run.point)
        same = same if run.is_final else experiment.grid_runs(method)
        return run.is_final, experiment.methods.index(method), same.index(run)

    def read_ended(self, method: Method) -> list[Result]:
        """Return the results of a method that the folder holds; of a part of a grid, none."""
        grid = self.experiment.grid_runs(method)
        tried = self.read_runs(grid)
        if len(tried) < len(grid):
            return []
        with contextlib.suppress(InputError):  # no run of the grid has a value
            point = choose_point(self.experiment, method, tried)
            return [*tried, *self.read_runs(self.experiment.final_runs(method, point))]
        return tried

    def read_runs(self, runs: Sequence[Run]) -> list[Result]:
        """Return the results of those runs that have ended."""
        ended = []
        for run in runs:
            folder = self.output / run.folder
            earlier = read_earlier(folder, build_arguments(self.experiment, run, self.output))
            if earlier is not None and earlier.status in ENDED:
                ended.append(self.read(run))
        return ended

    def read(self, run: Run) -> Result:
        experiment = self.experiment
        metric = experiment.final_metric if run.is_final else experiment.select
        folder = self.output / run.folder
        return read_run(run, metric, folder, select_last=experiment.select_last)

    def log_progress(self, result: Result) -> None:
        """Log a result, how many runs have ended, and how long the others will take."""
        value = result.status if result.selected is None else f"{result.selected:.2f}"
        remaining = self.remaining_runs()
        logger.info(
            "%s: %s %s; %d of %d runs, about %s left",
            result.run.folder,
            self.experiment.final_metric if result.run.is_final else self.experiment.select,
            value,
            len(self.results),
            len(self.results) + len(remaining),
            format_hours(estimate_seconds(remaining, self.results) / self.jobs),
        )

    def remaining_runs(self) -> list[tuple[Method, bool]]:
        """Return the method of each run that has not ended, and whether it is a final one."""
        remaining = []
        for method in self.methods:
            counts = Counter(r.run.is_final for r in self.results if r.run.method == method)
            num_grid = len(self.experiment.grid_runs(method))
            num_final = len(self.experiment.final_runs(method, {}))
            remaining += [(method, False)] * (num_grid - counts[False])
            remaining += [(method, True)] * (num_final - counts[True])
        return remaining

    def run_one(self, run: Run) -> Result:
        """Run, or resume, what has not ended yet, and read its result."""
        folder = self.output / run.folder
        arguments = build_arguments(self.experiment, run, self.output)
        earlier = read_earlier(folder, arguments)
        if earlier is None or earlier.status not in ENDED:
            words = [*arguments, *[RESUME] * folder.exists()]  # whatever state it is in
            self.execute(words, self.jobs, accepted=(0, EXIT_STATUS[DIVERGED]), folder=folder)
        return self.read(run)

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
            RunStopped: it was stopped from outside.
        """
        before = None if folder is None else _write_time(folder)
        shown = shlex.join(["bpt-det", *arguments])
        logger.info("$ %s", shown)
        threads = max(1, torch.get_num_threads() // jobs)
        variables = {"OMP_NUM_THREADS": str(threads)}
        stderr, status = self.children.call([*self.program, *arguments], variables)
        if status not in accepted:
            error = None
            if folder is not None and _write_time(folder) != before:
                error = read_result(folder).error
            text = error or _end_of(stderr)
            if (name := status_of_exit(status)) in ("preempted", "interrupted"):
                raise RunStopped(name, f"`{shown}` was stopped: {text}")
            raise InputError(f"`{shown}` ended with status {status}: {text}")


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
