"""Report of a comparison: a section of a Markdown file, with a figure of the curves."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.figure import Figure
from tabulate import tabulate

from bpt_det.engine.metrics import METRICS_NAME, read_records
from bpt_det.utils.atomic import atomic_write
from bpt_det.visualization.curves import collect_curves

from .experiment import Experiment, Method, Settings
from .results import Result, choose_point, mean_values

_SIZE, _DOTS_PER_INCH = (8, 4.5), 100  # inches
_HEADING = "# Results\n"


def write_report(
    experiment: Experiment, results: Sequence[Result], report: Path, output: Path, command: str
) -> None:
    """Write or replace the section of an experiment in a Markdown file, and its curves beside it.

    Args:
        experiment: methods that were compared.
        results: of the runs that have ended.
        report: the file; other sections in it stay as they are.
        output: folder of the runs, whose metrics the curves are drawn from.
        command: command line of the comparison.

    Raises:
        InputError: a file cannot be written.
    """
    commands = [f"    {line}" for line in (*experiment.before, command)]
    lines = [f"## {experiment.title}", "", experiment.about.strip(), "", *commands, ""]
    lines += [format_results(experiment, results), ""]
    if any(not result.run.is_final for result in results):
        how = f" The mean of {experiment.folds} folds counts." if experiment.folds else ""
        lines += [f"Settings tried, with the first seed. {experiment.choice_length}{how}", ""]
        lines += [format_grid(experiment, results), ""]
    if experiment.curves:
        picture = report.parent / f"{report.stem}_{experiment.name}.png"
        draw_method_curves(experiment, results, output, picture)
        lines += [f"![{experiment.final_metric} over the training]({picture.name})", ""]
    section = "\n".join(lines)
    begin, end = (f"<!-- {experiment.name}: {which} -->" for which in ("begin", "end"))
    section = f"{begin}\n{section}\n{end}\n"
    text = report.read_text() if report.is_file() else _HEADING
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: section, text)
    else:
        text = f"{text}\n{section}"
    with atomic_write(report) as partial:
        partial.write_text(text)


def format_results(experiment: Experiment, results: Sequence[Result]) -> str:
    """Return a table with a row per method: mean ± standard deviation over the seeds."""
    metrics = dict(experiment.report)
    if experiment.select not in metrics.values() and experiment.validates_final_runs:
        metrics[f"{experiment.select} (last)"] = experiment.select
    rows = []
    for method in experiment.methods:
        finals = _of(results, method, is_final=True)
        if not finals:
            continue
        num_planned = len(experiment.final_runs(method, {}))
        missing = f" ({len(finals)} of {num_planned} seeds)" if len(finals) < num_planned else ""
        point = choose_point(experiment, method, _of(results, method, is_final=False))
        rows.append(
            [
                method.label + missing,
                f"{finals[0].num_trained:,}",
                _join(point),
                *(_mean_and_spread(finals, metric) for metric in metrics.values()),
                f"{fmean(result.seconds for result in finals):.0f}",
            ]
        )
    headers = ["method", "trained", "chosen", *metrics, "s per run"]
    table = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
    ended = {result.run.method.name for result in results if result.run.is_final}
    waiting = [method.label for method in experiment.methods if method.name not in ended]
    return f"{table}\n\nNot run yet: {', '.join(waiting)}." if waiting else table


def format_grid(experiment: Experiment, results: Sequence[Result]) -> str:
    """Return a table of the ``select`` of every point that was tried."""
    rows = []
    for method in experiment.methods:
        tried = _of(results, method, is_final=False)
        cells = [
            f"{_join(point)}: " + ("no value" if value is None else f"{value:.2f}")
            for point, value in mean_values(tried)
        ]
        rows.append([method.label, "; ".join(cells) or "no choice"])
    which = "last" if experiment.select_last else "best"
    return tabulate(rows, ["method", f"{which} {experiment.select}"], tablefmt="pipe")


def draw_method_curves(
    experiment: Experiment, results: Sequence[Result], output: Path, picture: Path
) -> None:
    """Draw the mean of the seeds over the training, for the methods of ``curves``."""
    figure = Figure(figsize=_SIZE, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    for method in experiment.methods:
        if method.name not in experiment.curves:
            continue
        curves = [
            _read_curve(output / result.run.folder, experiment.final_metric)
            for result in _of(results, method, is_final=True)
            if result.selected is not None
        ]
        shared = sorted(set.intersection(*map(set, curves))) if curves else []
        means = [fmean(curve[iteration] for curve in curves) for iteration in shared]
        axes.plot(shared, means, marker=".", label=method.label)
    axes.set_xlabel("iteration")
    axes.set_ylabel(f"{experiment.final_metric}, mean of the seeds")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(picture) as partial:
        figure.savefig(partial, format="png")


def _read_curve(folder: Path, metric: str) -> dict[int, float]:
    return dict(collect_curves(read_records(folder / METRICS_NAME), [metric])[metric])


def _of(results: Sequence[Result], method: Method, *, is_final: bool) -> list[Result]:
    return [r for r in results if r.run.method == method and r.run.is_final == is_final]


def _mean_and_spread(finals: Sequence[Result], metric: str) -> str:
    """Return mean ± sample standard deviation; runs without a value are counted beside it."""
    known = [result.metrics.get(metric) for result in finals if result.selected is not None]
    values = [value for value in known if value is not None and math.isfinite(value)]
    num_without = len(finals) - len(values)
    note = f"{num_without} without a value" if num_without else ""
    if not values:
        return note
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}" + (f" ({note})" if note else "")


def _join(point: Settings) -> str:
    return ", ".join(
        f"{key.rpartition('.')[2]} {value:g}"
        if isinstance(value, float)
        else f"{key.rpartition('.')[2]} {value}"
        for key, value in point.items()
    )
