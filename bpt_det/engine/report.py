"""Report of a run: report.html, one file that a browser shows without the network."""

import contextlib
import csv
import logging
import math
import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import one_line
from bpt_det.utils.progress import format_seconds
from bpt_det.visualization.curves import CURVES_NAME, draw_curves, draw_prompt_norms
from bpt_det.visualization.evaluation_figures import MASKS_FOLDER, draw_confusion_matrix
from bpt_det.visualization.html_page import escape, folded, page, picture, table

from .hooks.writers import BATCH_NAME
from .metrics import METRICS_NAME, read_records
from .result import RESULT_NAME, RunResult, read_result

logger = logging.getLogger(__name__)

REPORT_NAME = "report.html"
_CONFIG_NAME, _LOG_NAME = "config.yaml", "log.txt"
_ENTRY = re.compile(r"\[\d\d/\d\d ")  # how an entry of the log begins
_MOST_ROWS = 2000  # of a table
_PER_CLASS = "per_class.csv"  # which every evaluation writes
# Files of an evaluation that the report shows, in this order, with their captions.
_TABLES = {
    "errors.csv": "Errors at the threshold of the largest F1: AP50 that each costs, and how many",
    _PER_CLASS: "By class",
}
_PICTURES = {
    "precision_recall.png": ("Precision over recall", False),
    "confusion.png": ("Confusions: rows true, columns predicted", False),
    "predictions.png": ("Ground truth beside predictions, most errors first", True),
    "errors.png": ("Errors", True),
    "most_confused.png": ("Most confused classes", True),
}


def write_report(folder: str | Path) -> Path:
    """Write report.html into the folder of a run or an evaluation, of the files there.

    Returns:
        path of the report.

    Raises:
        InputError: the folder holds no run, or the report cannot be written.
    """
    folder = Path(folder)
    result = read_result(folder)
    sections = [("Metrics", _metrics(result)), ("Training", _training(folder))]
    sections += [(name, _evaluation(place)) for name, place in _evaluations(folder)]
    sections.append(("Settings and environment", _settings(folder, result)))
    title = f"{folder.resolve().name}: {_outcome(result)}"
    content = page(title, [section for section in sections if section[1]], _summary(result))
    path = folder / REPORT_NAME
    with atomic_write(path) as partial:
        partial.write_text(content, encoding="utf-8")
    return path


@contextlib.contextmanager
def reported(folder: str | Path, *, is_on: bool = True) -> Iterator[None]:
    """Write a run's report after a block that did not fail."""
    yield
    if is_on:
        try_to_report(folder)


def try_to_report(folder: str | Path) -> None:
    """Write a run's report; failing to is no failure of the run."""
    try:
        write_report(folder)
    except Exception as error:
        logger.warning("no %s: %s", REPORT_NAME, one_line(error))


def _outcome(result: RunResult) -> str:
    """Return the metric that the run is judged by, of its final test if there is one."""
    metric = (result.best_metric or "").rpartition("/")[2]
    for kind in ("final", "best", "last"):
        values = result.metrics[kind]
        names = [result.best_metric, *(n for n in values if n.rpartition("/")[2] == metric)]
        for name in names if metric else ():
            if name is not None and values.get(name) is not None:
                return f"{name} {values[name]:.2f}"
    return result.status.replace("_", " ")


def _summary(result: RunResult) -> str:
    facts = [result.status.replace("_", " ")]
    if result.max_iter is not None:
        facts.append(f"{result.iterations:,} of {result.max_iter:,} iterations")
        facts.append(format_seconds(result.seconds))
    if result.best_iteration is not None:
        facts.append(f"best {result.best_metric} at iteration {result.best_iteration:,}")
    if result.trained_parameters is not None:
        facts.append(f"{result.trained_parameters:,} parameters trained")
        facts.append(f"{result.frozen_parameters:,} frozen")
    if result.started:
        facts.append(f"started {result.started}")
    text = f"<p>{escape(', '.join(facts))}</p>"
    return text if result.error is None else f"{text}<p><b>{escape(result.error)}</b></p>"


def _metrics(result: RunResult) -> str:
    """Return the metrics of all classes together, a row per task and evaluation."""
    rows: dict[tuple[str, str], dict[str, float | None]] = {}
    for kind in ("final", "best", "last"):
        for name, value in result.metrics[kind].items():
            task, _, metric = name.rpartition("/")
            if "-" not in metric:
                rows.setdefault((task, kind), {})[metric] = value
    columns = list(dict.fromkeys(metric for values in rows.values() for metric in values))
    if not rows:
        return ""
    lines = [
        [*key, *(_rounded(values.get(name)) for name in columns)] for key, values in rows.items()
    ]
    return table(["task", "evaluation", *columns], sorted(lines, key=lambda line: line[0]))


def _rounded(value: float | None) -> str | None:
    return None if value is None or not math.isfinite(value) else f"{value:.2f}"


def _training(folder: Path) -> str:
    records = list(read_records(folder / METRICS_NAME))
    metrics = {name for record in records for name in record if name.endswith(("/AP", "/top1"))}
    parts = []
    with tempfile.TemporaryDirectory() as temporary:
        path = folder / CURVES_NAME
        if not path.is_file():
            path = Path(temporary) / CURVES_NAME
            draw_curves(records, path, sorted(metrics))
        if path.is_file():
            parts.append(picture(path, "Losses, metrics and learning rate over the iterations"))
        path = Path(temporary) / "prompts.png"
        if draw_prompt_norms(records, path):
            parts.append(picture(path, "Size of the prompts of each block over the iterations"))
        path = folder / BATCH_NAME
        if path.is_file():
            parts.append(picture(path, "Training images as augmented", is_photograph=True))
    return "".join(parts)


def _evaluations(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the folders that evaluations of this run have written, with their headings."""
    for place in sorted(path.parent for path in folder.rglob(_PER_CLASS)):
        between = [place, *place.parents][: len(place.relative_to(folder).parts)]
        if not any((parent / RESULT_NAME).is_file() for parent in between):  # of another run
            yield _heading(folder, place), place


def _heading(folder: Path, place: Path) -> str:
    heading = "Evaluation"
    if place.name == MASKS_FOLDER:
        heading, place = "Evaluation of masks", place.parent
    elif (place / MASKS_FOLDER / _PER_CLASS).is_file():
        heading = "Evaluation of boxes"
    name = place.relative_to(folder).as_posix()
    return heading if name in (".", "inference") else f"{heading}: {name}"


def _evaluation(folder: Path) -> str:
    parts = []
    for name, caption in _TABLES.items():
        rows = _read_rows(folder / name)
        if len(rows) > 1:
            parts.append(f"<h3>{escape(caption)}</h3>{_shown_table(rows)}")
    for name, (caption, is_photograph) in _PICTURES.items():
        if (folder / name).is_file():
            parts.append(picture(folder / name, caption, is_photograph=is_photograph))
        elif name == "confusion.png":
            parts.append(_drawn_confusions(folder / "confusion.csv", caption))
    return "".join(parts)


def _shown_table(rows: Sequence[Sequence[str]]) -> str:
    columns = [name.replace("_", " ") for name in rows[0]]
    cells = [_shorten(column) for column in zip(*rows[1:], strict=True)]
    return table(columns, zip(*cells, strict=True))


def _shorten(column: Sequence[str]) -> list[str]:
    """Return numbers with one place after the point, or two if all are small; texts as they are."""
    values = [_fraction(cell) for cell in column]
    are_small = all(abs(value) <= 1 for value in values if value is not None)
    places = 2 if are_small else 1
    return [
        cell if value is None else f"{value:.{places}f}"
        for cell, value in zip(column, values, strict=True)
    ]


def _fraction(cell: str) -> float | None:
    """Return the number of a cell; None where it is a text or an integer."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and not cell.isdigit() else None


def _drawn_confusions(path: Path, caption: str) -> str:
    rows = _read_rows(path)
    if len(rows) < 2:
        return ""
    counts = np.array([row[1:] for row in rows[1:]], dtype=np.int64)
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "confusion.png"
        draw_confusion_matrix(target, counts, rows[0][1:])
        return picture(target, caption)


def _read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    if len(rows) > _MOST_ROWS:
        logger.warning("'%s' has %d rows; the report shows %d", path, len(rows), _MOST_ROWS)
    return rows[:_MOST_ROWS]


def _settings(folder: Path, result: RunResult) -> str:
    parts = []
    if result.command:
        parts.append(f"<h3>Command</h3><pre>{escape(shlex.join(result.command))}</pre>")
    if result.versions:
        parts.append(f"<h3>Versions</h3>{table(['package', 'version'], result.versions.items())}")
    environment = _environment(folder / _LOG_NAME)
    if environment:
        parts.append(folded("Environment", environment))
    path = folder / _CONFIG_NAME
    if path.is_file():
        parts.append(folded(_CONFIG_NAME, path.read_text(encoding="utf-8", errors="replace")))
    return "".join(parts)


def _environment(log: Path) -> str:
    """Return the last table of the environment in a log."""
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    starts = [index for index, line in enumerate(lines) if line.endswith("Environment:")]
    if not starts:
        return ""
    table_lines = []
    for line in lines[starts[-1] + 1 :]:
        if _ENTRY.match(line):
            break
        table_lines.append(line)
    return "\n".join(table_lines).strip()
