"""Confusions of a classifier: the confusion matrix and the most confused pairs of classes."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bpt_det.visualization.confusion_sheet import (
    MAX_CORRECT,
    MAX_MISTAKEN,
    MAX_PAIRS,
    ConfusedPair,
    Example,
    display_names,
    write_confusion_sheet,
)

from .class_predictions import Prediction, count_images

logger = logging.getLogger(__name__)


def count_confusions(predictions: Sequence[Prediction], num_classes: int) -> np.ndarray:
    """Return how often class i was taken for class j, int64 (K, K), rows true.

    An image whose logits are not finite has no predicted class and is left out.
    """
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    for prediction in predictions:
        if prediction.is_finite:
            counts[prediction.label, prediction.ranked[0]] += 1
    return counts


def rank_pairs(counts: np.ndarray, num_images: np.ndarray) -> list[tuple[int, int]]:
    """Return all pairs (true, predicted) that were confused, the most frequent first.

    Of equally frequent ones, that with the larger share of its true class's images comes first,
    and then that of the lower indices.

    Args:
        counts: (K, K), rows true.
        num_images: of each true class, (K,).
    """
    pairs = [(int(i), int(j)) for i, j in zip(*np.nonzero(counts), strict=True) if i != j]
    return sorted(pairs, key=lambda pair: (-counts[pair], num_images[pair[0]], pair))


def find_pairs(
    predictions: Sequence[Prediction], pairs: Sequence[tuple[int, int]], class_names: Sequence[str]
) -> list[ConfusedPair]:
    """Return the given pairs, true and predicted class, each with its most telling images."""
    num_classes = len(class_names)
    counts = count_confusions(predictions, num_classes)
    num_images = count_images(predictions, num_classes)
    examples: dict[tuple[int, int], list[Prediction]] = {
        pair: [] for pair in {*pairs, *((predicted, predicted) for _, predicted in pairs)}
    }
    for prediction in predictions:
        if prediction.is_finite and (prediction.label, prediction.ranked[0]) in examples:
            examples[prediction.label, prediction.ranked[0]].append(prediction)
    for several in examples.values():
        several.sort(key=lambda prediction: (-prediction.probabilities[0], prediction.image_id))
    names = display_names(class_names)
    return [
        ConfusedPair(
            label=names[i],
            predicted=names[j],
            count=int(counts[i, j]),
            num_images=int(num_images[i]),
            mistaken=_to_show(examples[i, j][:MAX_MISTAKEN]),
            correct=_to_show(examples[j, j][:MAX_CORRECT]),
        )
        for i, j in pairs
    ]


def _to_show(predictions: Sequence[Prediction]) -> list[Example]:
    return [Example(p.file_name, p.probabilities[0]) for p in predictions]


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
        logger.info("No %s image was misclassified, so there is no %s", task, path.name)
        return
    write_confusion_sheet(
        path,
        find_pairs(predictions, ranked[:MAX_PAIRS], class_names),
        task=task,
        num_pairs=len(ranked),
        num_wrong=sum(not prediction.is_correct for prediction in predictions),
        num_images=len(predictions),
    )
