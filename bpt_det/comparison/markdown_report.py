"""Report of a comparison: a section of a Markdown file, with a figure of the curves."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from tabulate import tabulate

from bpt_det.engine.metrics import METRICS_NAME, read_records
from bpt_det.utils.atomic import atomic_write
from bpt_det.visualization.curves import collect_curves
from bpt_det.visualization.figures import add_legend, new_figure, save_figure

from .experiment import Experiment, Method, Settings
from .results import Result, choose_point, mean_values

_FIGURE_SIZE = (8, 4.5)  # inches
# What `train.prompt_rms` records, with the index of a block behind it, and its label.
_PROMPT_RMS, _RMS_LABEL = "prompt_rms", "RMS of the prompts"
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
        lines += [format_grid(experiment, results), "", *_choices_at_an_end(experiment, results)]
    if experiment.curves:
        lines += _draw_curves(experiment, results, report, output)
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


def _draw_curves(
    experiment: Experiment, results: Sequence[Result], report: Path, output: Path
) -> list[str]:
    """Draw the final metric, and the size of the prompts where it is known; return the lines."""
    lines = []
    for metric, suffix in ((experiment.final_metric, ""), (_PROMPT_RMS, "_rms")):
        curves = _method_curves(experiment, results, output, metric)
        if not any(curves.values()):  # none of `curves` has ended, or none has prompts
            continue
        label = _RMS_LABEL if suffix else metric
        picture = report.parent / f"{report.stem}_{experiment.name}{suffix}.png"
        title = f"{label}, mean ± standard deviation"
        draw_method_curves(curves, title, picture, log_scale=metric == _PROMPT_RMS)
        lines += [f"![{label} over the training]({picture.name})", ""]
    return lines


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
    return f"{table}\n\nNot run yet: {'; '.join(waiting)}." if waiting else table


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


def _choices_at_an_end(experiment: Experiment, results: Sequence[Result]) -> list[str]:
    """Return a sentence that names the methods whose choice is at an end of its grid, if any."""
    names = []
    for method in experiment.methods:
        finals = _of(results, method, is_final=True)
        ends = experiment.at_end_of_grid(method, finals[0].run.point) if finals else {}
        if ends:
            names.append(f"{method.label} ({_join(ends)})")
    if not names:
        return []
    sentence = "Chosen at the end of a grid, where values beyond may be better"
    return [f"{sentence}: {'; '.join(names)}.", ""]


def draw_method_curves(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    label: str,
    path: Path,
    *,
    log_scale: bool = False,
) -> None:
    """Draw means over the training, in bands of ± the standard deviation.

    Args:
        curves: values of the seeds by iteration, by name; one without any has no line, but a color
            of its own, so that a name has the same in several pictures.
        label: what they are.
        path: of the picture.
        log_scale: whether equal factors are equal distances, where all means are positive.
    """
    figure = new_figure(*_FIGURE_SIZE)
    axes = figure.subplots()
    for name, curve in curves.items():
        iterations, by_seed = list(curve), list(curve.values())
        means = [fmean(values) for values in by_seed]
        (line,) = axes.plot(iterations, means, marker=".", label=name if curve else None)
        spreads = [stdev(values) if len(values) > 1 else 0 for values in by_seed]
        low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        axes.fill_between(iterations, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("iteration")
    axes.set_ylabel(label, fontsize=9)  # fits beside a panel with a legend below
    axes.grid(alpha=0.3)
    if log_scale and all(fmean(seeds) > 0 for curve in curves.values() for seeds in curve.values()):
        axes.set_yscale("log")
    add_legend(axes)
    save_figure(figure, path)


def _method_curves(
    experiment: Experiment, results: Sequence[Result], output: Path, metric: str
) -> dict[str, dict[int, list[float]]]:
    """Return the values of the seeds by iteration, by label; of methods in `curves` that ended."""
    curves = {}
    for method in experiment.methods:
        if method.name not in experiment.curves:
            continue
        of_seeds = [
            _read_curve(output / result.run.folder, metric)
            for result in _of(results, method, is_final=True)
            if result.selected is not None
        ]
        if of_seeds:
            shared = sorted(set.intersection(*map(set, of_seeds)))
            curves[method.label] = {i: [curve[i] for curve in of_seeds] for i in shared}
    return curves


def _read_curve(folder: Path, metric: str) -> dict[int, float]:
    """Return a metric by iteration; ``prompt_rms``: the root mean square over all blocks."""
    records = read_records(folder / METRICS_NAME)
    if metric != _PROMPT_RMS:
        return dict(collect_curves(records, [metric])[metric])
    sizes: dict[int, float] = {}
    for record in records:
        values = [v for key, v in record.items() if key.startswith(f"{_PROMPT_RMS}_")]
        if values:
            sizes[record["iteration"]] = math.sqrt(fmean(value**2 for value in values))
    return sizes


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
