"""Files of an evaluation: predictions, confusion matrix, accuracy by class, confusion sheet."""

import csv
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bpt_det.utils.atomic import atomic_write
from bpt_det.visualization.confusion_sheet import MAX_PAIRS, write_confusion_sheet

from .confusion import count_confusions, count_images, find_pairs, rank_pairs
from .ranking import Prediction

_RANKED_SEPARATOR = " | "

logger = logging.getLogger(__name__)


def write_predictions(
    path: Path, predictions: Sequence[Prediction], class_names: Sequence[str]
) -> None:
    """Write one row per image; the prediction is empty where the logits were not finite.

    ``top5`` holds the names of the likeliest classes, separated by `` | ``.

    Raises:
        InputError: the file cannot be written.
    """
    rows: list[Sequence] = [
        ("image_id", "label", "prediction", "confidence", "correct", "top5"),
    ]
    for prediction in predictions:
        names = [class_names[index] for index in prediction.ranked]
        rows.append(
            (
                prediction.image_id,
                class_names[prediction.label],
                names[0] if names else "",
                f"{prediction.probabilities[0]:.6f}" if names else "",
                prediction.is_correct,
                _RANKED_SEPARATOR.join(names),
            )
        )
    _write(path, rows)


def write_confusion(path: Path, counts: np.ndarray, class_names: Sequence[str]) -> None:
    """Write the confusion matrix, (K, K), rows true, with the names as first row and column.

    Raises:
        InputError: the file cannot be written.
    """
    rows = [(name, *row) for name, row in zip(class_names, counts.tolist(), strict=True)]
    _write(path, [("true \\ predicted", *class_names), *rows])


def write_per_class(
    path: Path, predictions: Sequence[Prediction], class_names: Sequence[str]
) -> None:
    """Write the number of images and the accuracy in percent, empty without images, by class.

    Raises:
        InputError: the file cannot be written.
    """
    correct = [prediction for prediction in predictions if prediction.is_correct]
    columns = zip(
        class_names,
        count_images(predictions, len(class_names)).tolist(),
        count_images(correct, len(class_names)).tolist(),
        strict=True,
    )
    rows = [(name, n, f"{100 * hits / n:.4f}" if n else "") for name, n, hits in columns]
    _write(path, [("class", "num_images", "accuracy"), *rows])


def write_most_confused(
    path: Path, predictions: Sequence[Prediction], class_names: Sequence[str], task: str
) -> None:
    """Write the confusion sheet, or remove an earlier one if no image was taken for another class.

    Args:
        path: of a PNG file.
        predictions: at least one.
        class_names: one per class.
        task: name of the data, for the title.

    Raises:
        InputError: the file cannot be written.
    """
    num_classes = len(class_names)
    counts = count_confusions(predictions, num_classes)
    ranked = rank_pairs(counts, count_images(predictions, num_classes))
    if not ranked:
        path.unlink(missing_ok=True)
        logger.info("No %s image was taken for another class: no %s", task, path.name)
        return
    write_confusion_sheet(
        path,
        find_pairs(predictions, ranked[:MAX_PAIRS], class_names),
        task=task,
        num_pairs=len(ranked),
        num_wrong=sum(not prediction.is_correct for prediction in predictions),
        num_images=len(predictions),
    )


def _write(path: Path, rows: Iterable[Sequence]) -> None:
    # File names that are not UTF-8 reach us with surrogates; they leave as they came.
    with (
        atomic_write(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file).writerows(rows)
