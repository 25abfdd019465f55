"""Files of an evaluation's analysis: analysis.json, tables and pictures.

``per_class.csv``, ``errors.csv`` and ``confusion.csv`` are tables; ``precision_recall.png``,
``confusion.png``, ``predictions.png`` and ``errors.png`` are pictures, which can be left out.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bpt_det.utils.atomic import atomic_write, write_rows
from bpt_det.visualization.error_sheet import (
    MAX_EXAMPLES,
    ErrorExample,
    Outline,
    write_error_sheet,
)
from bpt_det.visualization.evaluation_figures import draw_confusion_matrix, draw_precision_recall
from bpt_det.visualization.fonts import drawable_names

from .analysis import confusion_matrix, count_errors, precision_curves
from .analyzed_evaluation import AnalyzedEvaluation
from .matching import KINDS, MISSED
from .prediction_sheet import PredictionSheet

_BACKGROUND = "background"
_MEANINGS = {
    "classification": "IoU of 0.5 or more with an object of another class",
    "localization": "IoU of 0.1 to 0.5 with an object of its class",
    "both": "IoU of 0.1 to 0.5 with an object of another class",
    "duplicate": "IoU of 0.5 or more with an object that a better prediction has found",
    "background": "IoU under 0.1 with every object",
    "missed": "an object that no prediction has found, nor erred in class or box of",
}


def write_analysis(
    folder: Path, evaluation: AnalyzedEvaluation, sheet: PredictionSheet | None
) -> None:
    """Write all files of an evaluation.

    Args:
        folder: to write into.
        evaluation: what is known.
        sheet: draws predictions.png; None leaves out all pictures.

    Raises:
        InputError: a file cannot be written.
    """
    content = evaluation.to_json()
    counts = confusion_matrix(evaluation.above)
    names = [*evaluation.class_names, _BACKGROUND]
    with atomic_write(folder / "analysis.json") as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    rows = content["classes"]
    if rows:
        columns = list(rows[0])
        write_rows(folder / "per_class.csv", [columns, *(map(_cell, r.values()) for r in rows)])
    errors = content["errors"]
    head = ["error", *next(iter(errors.values())), "meaning"]
    table = [[k, *map(_cell, v.values()), _MEANINGS[k]] for k, v in errors.items()]
    write_rows(folder / "errors.csv", [head, *table])
    matrix = [[name, *row] for name, row in zip(names, counts.tolist(), strict=True)]
    write_rows(folder / "confusion.csv", [["true \\ predicted", *names], *matrix])
    if sheet is None:
        return
    best = evaluation.best
    curves = precision_curves(evaluation.matches)
    mark = None if best.threshold is None else (best.recall / 100, best.precision / 100)
    draw_precision_recall(folder / "precision_recall.png", curves, evaluation.class_names, mark)
    shown = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1) > 0)
    if len(shown):
        shown = np.union1d(shown, [len(counts) - 1])
        shown_names = [names[index] for index in shown]
        draw_confusion_matrix(folder / "confusion.png", counts[np.ix_(shown, shown)], shown_names)
    _write_error_sheet(folder / "errors.png", evaluation)
    sheet.write(folder / "predictions.png", evaluation)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else value


def _write_error_sheet(path: Path, evaluation: AnalyzedEvaluation) -> None:
    above = evaluation.above
    kept = np.flatnonzero(evaluation.matches.scores > (evaluation.threshold))
    totals = count_errors(above, "size").sum(axis=0)
    groups = []
    for kind, name in enumerate(KINDS):
        if kind == MISSED:
            chosen = np.flatnonzero(above.is_missed())
            chosen = chosen[np.argsort(-above.object_areas[chosen], kind="stable")]
            examples = [_missed_example(evaluation, i) for i in chosen[:MAX_EXAMPLES]]
        else:
            chosen = np.flatnonzero(above.kinds == kind)
            chosen = chosen[np.argsort(-above.scores[chosen], kind="stable")][:MAX_EXAMPLES]
            examples = [_example(evaluation, kept[i]) for i in chosen]
        groups.append((f"{name}: {totals[kind]}", examples))
    score = f"{evaluation.threshold:.2f}"
    shapes = "masks" if evaluation.task == "segm" else "boxes"
    note = f"Predictions that score more than {score}, where F1 is largest; IoU 0.5 of {shapes}."
    write_error_sheet(path, [group for group in groups if group[1]], note)


def _example(evaluation: AnalyzedEvaluation, prediction: int) -> ErrorExample:
    result, target = evaluation.results[prediction], evaluation.matches.targets[prediction]
    truth = None if target < 0 else evaluation.objects[target]
    names = drawable_names(evaluation.class_names)
    name = names[result["category_id"] - 1]
    second = "" if truth is None else f"true: {names[truth['category_id'] - 1]}"
    return ErrorExample(
        evaluation.files[result["image_id"]],
        _outline(result, evaluation.task),
        None if truth is None else _outline(truth, evaluation.task),
        (f"{name} {result['score']:.0%}", second),
    )


def _missed_example(evaluation: AnalyzedEvaluation, index: int) -> ErrorExample:
    truth = evaluation.objects[index]
    name = drawable_names(evaluation.class_names)[truth["category_id"] - 1]
    file = evaluation.files[truth["image_id"]]
    return ErrorExample(file, None, _outline(truth, evaluation.task), (name, "not found"))


def _outline(annotation: dict, task: str) -> Outline:
    left, top, width, height = annotation["bbox"]
    mask = annotation["segmentation"] if task == "segm" else None
    return Outline((left, top, left + width, top + height), mask)
