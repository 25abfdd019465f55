"""Results of the runs of a comparison: read from their folders, and the choice between them."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bpt_det.engine.metrics import METRICS_NAME, read_records
from bpt_det.engine.result import RESULT_NAME, read_result
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError

from .experiment import Experiment, Method, Run, Settings

DIVERGED = "diverged"
ENDED = ("finished", "stopped_early", DIVERGED)  # statuses of a run that is not to be resumed


@dataclass(frozen=True)
class Result:
    """Result of one run.

    Args:
        run: whose it is.
        status: ``finished``, ``stopped_early`` or ``diverged``.
        selected: highest value of the experiment's ``select``; None if the run diverged, or if it
            never had a value, as the AP where nothing is predicted.
        metrics: the last value of each metric; None is not finite.
        num_trained: trained parameters.
        seconds: time of its iterations.
    """

    run: Run
    status: str
    selected: float | None
    metrics: dict[str, float | None]
    num_trained: int
    seconds: float


def read_run(run: Run, select: str, folder: Path) -> Result:
    """Return the result of a run that has ended.

    Args:
        run: one of an experiment.
        select: metric that chooses; the highest value of the whole run counts.
        folder: of the run.

    Raises:
        InputError: it has no value of ``select``, or no result.
    """
    result = read_result(folder)
    records = read_records(folder / METRICS_NAME)
    values = [record[select] for record in records if select in record]
    has_diverged = result.status == DIVERGED
    if not values and not has_diverged:
        raise InputError(f"'{folder}/{METRICS_NAME}' holds no {select}; correct plan.select.")
    finite = [value for value in values if math.isfinite(value)]
    return Result(
        run=run,
        status=result.status,
        selected=None if has_diverged or not finite else max(finite),
        metrics={**result.metrics["last"], **result.metrics["final"]},
        num_trained=result.trained_parameters or 0,
        seconds=(result.iteration_seconds or 0.0) * result.iterations,
    )


def choose_point(experiment: Experiment, method: Method, tried: Sequence[Result]) -> Settings:
    """Return the point of a method's grid whose run has the best value of ``select``.

    Raises:
        InputError: no run has a value.
    """
    of_method = [result for result in tried if result.run.method == method]
    if not of_method:
        return experiment.only_point(method)
    candidates = [result for result in of_method if result.selected is not None]
    if not candidates:
        raise InputError(
            f"every run of {method.name} diverged, or has no {experiment.select}; give it lower "
            "rates in the grid of the plan."
        )
    return max(candidates, key=lambda result: result.selected).run.point


def write_status(
    output: Path, experiment: Experiment, status: str, results: Sequence[Result] = ()
) -> None:
    """Write result.json of the whole comparison: its status and the results of its runs.

    Args:
        output: folder of the comparison.
        experiment: whose runs they are.
        status: ``running``, ``finished``, ``interrupted`` or ``failed``.
        results: of the runs that have ended.
    """
    runs = [{**asdict(result), "run": result.run.folder} for result in results]
    content = {"status": status, "experiment": experiment.name, "runs": runs}
    with atomic_write(output / RESULT_NAME) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
