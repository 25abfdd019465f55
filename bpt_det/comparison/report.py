"""The results of a comparison as a section of a Markdown file, with a picture of the curves."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.figure import Figure
from tabulate import tabulate

from bpt_det.engine.metrics import read_records
from bpt_det.utils.atomic import atomic_write
from bpt_det.visualization.curves import collect_curves

from .experiment import Method, Plan
from .runs import Outcome, choose

_SIZE, _DOTS_PER_INCH = (8, 4.5), 100  # inches
_HEADING = "# Results\n"


def write_report(
    plan: Plan, outcomes: Sequence[Outcome], report: Path, output: Path, command: str
) -> None:
    """Write, or replace, the section of a plan in a Markdown file, and its curves beside it.

    Args:
        plan: what was compared.
        outcomes: of all its runs.
        report: the file; other sections in it stay as they are.
        output: folder of the runs, whose metrics the curves are drawn from.
        command: that carried them out.

    Raises:
        InputError: a file cannot be written.
    """
    commands = [f"    {one}" for one in (*plan.before, command)]
    lines = [f"## {plan.title}", "", plan.about.strip(), "", *commands, ""]
    lines += [format_results(plan, outcomes), ""]
    if any(not outcome.run.is_final for outcome in outcomes):
        lines += ["Settings tried, with the first seed:", "", format_grid(plan, outcomes), ""]
    if plan.curves:
        picture = report.parent / f"{report.stem}_{plan.name}.png"
        draw_method_curves(plan, outcomes, output, picture)
        lines += [f"![{plan.select} over the training]({picture.name})", ""]
    section = "\n".join(lines)
    begin, end = (f"<!-- {plan.name}: {which} -->" for which in ("begin", "end"))
    section = f"{begin}\n{section}\n{end}\n"
    text = report.read_text() if report.is_file() else _HEADING
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: section, text)
    else:
        text = f"{text}\n{section}"
    with atomic_write(report) as partial:
        partial.write_text(text)


def format_results(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return a table with a row a method: mean ± standard deviation over the seeds."""
    metrics = dict(plan.report)
    if plan.select not in metrics.values():
        metrics[f"{plan.select} (last)"] = plan.select
    rows = []
    for method in plan.methods:
        finals = _of(outcomes, method, is_final=True)
        choice = choose(plan, method, _of(outcomes, method, is_final=False))
        rows.append(
            [
                method.label,
                f"{finals[0].result.num_trained:,}",
                _join(choice),
                *(_mean_and_spread(finals, metric) for metric in metrics.values()),
                f"{fmean(o.result.seconds for o in finals):.0f}",
            ]
        )
    headers = ["method", "trained", "chosen", *metrics, "s a run"]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)


def format_grid(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return a table of the best ``select`` of every run that helped to choose."""
    rows = []
    for method in plan.methods:
        tried = _of(outcomes, method, is_final=False)
        cells = [
            f"{_join(o.run.choice)}: "
            + ("no value" if o.result.selected is None else f"{o.result.selected:.2f}")
            for o in tried
        ]
        rows.append([method.label, "; ".join(cells) or "no choice"])
    return tabulate(rows, ["method", f"best {plan.select}"], tablefmt="pipe")


def draw_method_curves(
    plan: Plan, outcomes: Sequence[Outcome], output: Path, picture: Path
) -> None:
    """Draw ``select`` over the training, the mean of the seeds, for the methods of ``curves``."""
    figure = Figure(figsize=_SIZE, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    for method in plan.methods:
        if method.name not in plan.curves:
            continue
        curves = [
            dict(
                collect_curves(read_records(output / o.run.folder / "metrics.json"), [plan.select])[
                    plan.select
                ]
            )
            for o in _of(outcomes, method, is_final=True)
            if o.result.selected is not None
        ]
        shared = sorted(set.intersection(*map(set, curves))) if curves else []
        means = [fmean(curve[iteration] for curve in curves) for iteration in shared]
        axes.plot(shared, means, marker=".", label=method.label)
    axes.set_xlabel("iteration")
    axes.set_ylabel(f"{plan.select}, mean of {len(plan.seeds)} seeds")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(picture) as partial:
        figure.savefig(partial, format="png")


def _of(outcomes: Sequence[Outcome], method: Method, *, is_final: bool) -> list[Outcome]:
    return [o for o in outcomes if o.run.method == method and o.run.is_final == is_final]


def _mean_and_spread(finals: Sequence[Outcome], metric: str) -> str:
    """Return mean ± sample standard deviation; runs without a value are counted beside it."""
    found = [
        o.result.metrics.get(metric, math.nan) for o in finals if o.result.selected is not None
    ]
    values = [value for value in found if math.isfinite(value)]
    num_without = len(finals) - len(values)
    note = f"{num_without} without a value" if num_without else ""
    if not values:
        return note
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}" + (f" ({note})" if note else "")


def _join(choice: dict) -> str:
    return ", ".join(
        f"{key.rpartition('.')[2]} {value:g}"
        if isinstance(value, float)
        else f"{key.rpartition('.')[2]} {value}"
        for key, value in choice.items()
    )
