"""Results of a comparison's runs: read from their folders, the choice, and the time left."""

import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from bpt_det.engine.metrics import METRICS_NAME, read_records
from bpt_det.engine.result import RESULT_NAME, RunResult, read_result
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError

from .experiment import Experiment, Method, Run, Settings

logger = logging.getLogger(__name__)

RESUME = "--resume"  # of the command line of a run
DIVERGED = "diverged"
ENDED = ("finished", "stopped_early", DIVERGED)  # statuses of a run that is not to be resumed


@dataclass(frozen=True)
class Result:
    """Result of one run.

    Args:
        run: whose it is.
        status: ``finished``, ``stopped_early`` or ``diverged``.
        selected: value of the experiment's ``select`` that counts; None if the run diverged, or if
            it never had a value, as the AP where nothing is predicted.
        metrics: the last value of each metric; None is not finite.
        num_trained: trained parameters.
        seconds: time of its iterations.
        total_seconds: of the run, with its evaluations.
    """

    run: Run
    status: str
    selected: float | None
    metrics: dict[str, float | None]
    num_trained: int
    seconds: float
    total_seconds: float = 0.0


def read_run(run: Run, select: str, folder: Path, *, select_last: bool = False) -> Result:
    """Return the result of a run that has ended.

    Args:
        run: one of an experiment.
        select: metric that chooses.
        folder: of the run.
        select_last: whether its last value counts, in place of the highest of the whole run.

    Raises:
        InputError: it has no value of ``select``, or no result.
    """
    result = read_result(folder)
    records = read_records(folder / METRICS_NAME)
    values = [record[select] for record in records if select in record]
    has_diverged = result.status == DIVERGED
    if not values and not has_diverged:
        raise InputError(f"'{folder}/{METRICS_NAME}' holds no {select}; correct plan.select.")
    finite = [v for v in (values[-1:] if select_last else values) if math.isfinite(v)]
    return Result(
        run=run,
        status=result.status,
        selected=None if has_diverged or not finite else max(finite),
        metrics={**result.metrics["last"], **result.metrics["final"]},
        num_trained=result.trained_parameters or 0,
        seconds=(result.iteration_seconds or 0.0) * result.iterations,
        total_seconds=result.seconds,
    )


def read_earlier(folder: Path, arguments: list[str]) -> RunResult | None:
    """Return what a run has written; None if it has not begun, or its result is damaged.

    Raises:
        InputError: the folder is that of another run.
    """
    if not (folder / RESULT_NAME).is_file():
        return None
    try:
        result = read_result(folder)
    except InputError as error:  # as a machine that crashed leaves it; resuming writes it anew
        logger.warning("%s", error)
        return None
    earlier = [word for word in result.command[1:] if word != RESUME]
    if earlier != arguments:
        changed = next((new for new in arguments if new not in earlier), arguments[2])
        raise InputError(
            f"'{folder}' is of another run than the plan asks for ({changed}); choose another "
            "output folder, or delete the folders of the runs that have changed."
        )
    return result


def choose_point(experiment: Experiment, method: Method, tried: Sequence[Result]) -> Settings:
    """Return the point of a method's grid whose runs have the best mean of ``select``.

    Raises:
        InputError: no point has a value in all of its runs.
    """
    of_method = [result for result in tried if result.run.method == method]
    if not of_method:
        return experiment.only_point(method)
    candidates = [(value, point) for point, value in mean_values(of_method) if value is not None]
    if not candidates:
        raise InputError(
            f"every run of {method.name} diverged, or has no {experiment.select}; give it lower "
            "rates in the grid of the plan."
        )
    return max(candidates, key=lambda candidate: candidate[0])[1]


def mean_values(results: Sequence[Result]) -> list[tuple[Settings, float | None]]:
    """Return each point of a grid with the mean of its runs; None where one has no value."""
    points: list[Settings] = []
    for result in results:
        if result.run.point not in points:
            points.append(result.run.point)
    pairs: list[tuple[Settings, float | None]] = []
    for point in points:
        values = [result.selected for result in results if result.run.point == point]
        known = [value for value in values if value is not None]
        pairs.append((point, fmean(known) if len(known) == len(values) else None))
    return pairs


def write_status(
    output: Path, experiment: Experiment, status: str, results: Sequence[Result] = ()
) -> None:
    """Write result.json of the whole comparison: its status and the results of its runs.

    Args:
        output: folder of the comparison.
        experiment: whose runs they are.
        status: ``running``, ``finished``, ``preempted``, ``interrupted`` or ``failed``.
        results: of the runs that have ended.
    """
    runs = [{**asdict(result), "run": result.run.folder} for result in results]
    content = {"status": status, "experiment": experiment.name, "runs": runs}
    with atomic_write(output / RESULT_NAME) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def estimate_seconds(remaining: Iterable[tuple[Method, bool]], results: Sequence[Result]) -> float:
    """Return how long runs will take one after another.

    Each as long as the mean of those that are most like it: of its method and kind, else of its
    kind, else of all.

    Args:
        remaining: of each run its method, and whether it is a final one.
        results: of runs that have ended, at least one.
    """
    return sum(fmean(_most_like(*run, results)) for run in remaining)


def _most_like(method: Method, is_final: bool, results: Sequence[Result]) -> list[float]:
    same_kind = [r for r in results if r.run.is_final == is_final]
    same_method = [r for r in same_kind if r.run.method == method]
    return [r.total_seconds for r in same_method or same_kind or results]


def format_hours(seconds: float) -> str:
    """Return a duration as ``3 h 20 min``, or below an hour as ``20 min``."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
