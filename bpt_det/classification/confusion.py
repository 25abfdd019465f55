"""Which classes are taken for which: counts, and the most confused pairs with examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .ranking import Prediction


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were taken for another.

    Args:
        label: index of the true class.
        predicted: index of the class that they were taken for.
        count: how many they are.
        num_images: of the true class.
        mistaken: the most confident of them first.
        correct: images of the class ``predicted`` that were recognized, the most confident first.
    """

    label: int
    predicted: int
    count: int
    num_images: int
    mistaken: tuple[Prediction, ...]
    correct: tuple[Prediction, ...]


def count_confusions(predictions: Sequence[Prediction], num_classes: int) -> np.ndarray:
    """Return how often class i was taken for class j, int64 (K, K), rows true.

    An image whose logits are not finite has no predicted class and is left out.
    """
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    for prediction in predictions:
        if prediction.is_finite:
            counts[prediction.label, prediction.ranked[0]] += 1
    return counts


def count_images(predictions: Sequence[Prediction], num_classes: int) -> np.ndarray:
    """Return the number of images of each true class, int64 (K,)."""
    labels = np.array([prediction.label for prediction in predictions], dtype=np.int64)
    return np.bincount(labels, minlength=num_classes)


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


def find_examples(
    predictions: Sequence[Prediction],
    pairs: Sequence[tuple[int, int]],
    num_classes: int,
    *,
    max_mistaken: int = 3,
    max_correct: int = 2,
) -> list[ConfusedPair]:
    """Return the given pairs, true and predicted class, each with its most telling images."""
    counts = count_confusions(predictions, num_classes)
    num_images = count_images(predictions, num_classes)
    wanted = {*pairs, *((j, j) for _, j in pairs)}
    found: dict[tuple[int, int], list[Prediction]] = {pair: [] for pair in wanted}
    for prediction in predictions:
        if prediction.is_finite and (pair := (prediction.label, prediction.ranked[0])) in found:
            found[pair].append(prediction)
    for examples in found.values():
        examples.sort(key=lambda example: (-example.probabilities[0], example.image_id))
    return [
        ConfusedPair(
            label=i,
            predicted=j,
            count=int(counts[i, j]),
            num_images=int(num_images[i]),
            mistaken=tuple(found[i, j][:max_mistaken]),
            correct=tuple(found[j, j][:max_correct]),
        )
        for i, j in pairs
    ]
