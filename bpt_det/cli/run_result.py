"""Result of a run as text: its last lines on the console, with the files that it has left."""

import math
import shlex
from pathlib import Path

from omegaconf import DictConfig
from tabulate import tabulate

from bpt_det.engine.checkpoint import BEST_NAME, FINAL_NAME
from bpt_det.engine.report import REPORT_NAME
from bpt_det.engine.result import RESULT_NAME, RunResult, read_result
from bpt_det.engine.run import CONFIG_NAME
from bpt_det.utils.progress import format_seconds
from bpt_det.visualization.curves import CURVES_NAME

from .arguments import LOG_NAME
from .commands import invocation
from .tasks import is_detector

_WEIGHTS = (("best weights", f"{BEST_NAME}.pth"), ("last weights", f"{FINAL_NAME}.pth"))
_FILES = (
    ("encoder", "encoder.pth"),  # of a pre-training
    ("curves", CURVES_NAME),
    ("metrics", RESULT_NAME),
    ("report", REPORT_NAME),
    ("log", LOG_NAME),
)


def describe_result(folder: str | Path, cfg: DictConfig) -> str:
    """Return the metrics of a run that has ended, its files, and the command to go on with.

    Args:
        folder: of the run.
        cfg: its config.
    """
    folder = Path(folder)
    result = read_result(folder)
    lines = ["", _title(result), *_metrics_table(_metrics(result))]
    weights = [(label, name) for label, name in _WEIGHTS if (folder / name).is_file()][:1]
    for label, name in (*weights, *_FILES):
        if (folder / name).is_file():
            lines.append(f"  {label:12}  {folder / name}")
    if weights and is_detector(cfg):
        words = ["--config-file", folder / CONFIG_NAME, "--checkpoint", folder / weights[0][1]]
        words += ["--output", folder / "pictures"]
        command = f"{invocation('visualize')} {shlex.join(map(str, words))}"
        lines.append(f"  {'draw masks':12}  {command}")
    return "\n".join(lines)


def _title(result: RunResult) -> str:
    if result.max_iter is None:
        return "Evaluation finished"
    done = "Stopped early" if result.status == "stopped_early" else "Training finished"
    text = f"{done} after {result.iterations:,} iterations, {format_seconds(result.seconds)}"
    best = result.metrics["best"].get(result.best_metric or "")
    return text if best is None else f"{text}; best {result.best_metric} {best:.4g}"


def _metrics(result: RunResult) -> dict[str, float | None]:
    """Return the metrics of the final test, and of the best evaluation or else the last one."""
    return {**(result.metrics["best"] or result.metrics["last"]), **result.metrics["final"]}


def _metrics_table(metrics: dict[str, float | None]) -> list[str]:
    """Return a table of metrics, one row per task; those of single classes are left out."""
    tasks: dict[str, dict[str, float | None]] = {}
    for name, value in metrics.items():
        task, _, metric = name.rpartition("/")
        if "-" not in metric:
            tasks.setdefault(task, {})[metric] = value
    if not tasks:
        return []
    columns = list(dict.fromkeys(metric for values in tasks.values() for metric in values))
    rows = [[task, *(_format(name, tasks[task].get(name)) for name in columns)] for task in tasks]
    table = tabulate(rows, headers=["", *columns], tablefmt="plain", disable_numparse=True)
    return [f"  {line}" for line in table.splitlines()]


def _format(metric: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.4g}" if metric == "loss" else f"{value:.2f}"  # all others are percentages
