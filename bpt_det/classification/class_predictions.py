"""Predictions of a classifier: the result of one image, and the tables of an evaluation.

Kept are the likeliest classes and the loss, not all logits. The tables are CSV files.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bpt_det.utils.atomic import write_rows

NUM_RANKED = 5
RANKED_SEPARATOR = " | "


class Prediction(NamedTuple):
    """The result of one image.

    Args:
        image_id: path within the dataset.
        file_name: for `read_rgb`.
        label: index of the true class.
        ranked: indices of the likeliest classes, the likeliest first, at most `NUM_RANKED`; empty
            if the logits are not finite.
        probabilities: of those classes, in [0, 1].
        loss: cross entropy in nats; nan if the logits are not finite.
    """

    image_id: str
    file_name: str
    label: int
    ranked: tuple[int, ...]
    probabilities: tuple[float, ...]
    loss: float

    @property
    def is_finite(self) -> bool:
        return bool(self.ranked)

    @property
    def is_correct(self) -> bool:
        return self.ranked[:1] == (self.label,)

    @property
    def is_in_top5(self) -> bool:
        return self.label in self.ranked


def rank_classes(samples: Sequence[Mapping], logits: Tensor) -> list[Prediction]:
    """Return one prediction per sample; of equal logits the class of lower index comes first.

    Args:
        samples: each with ``image_id``, ``file_name`` and ``label`` in [0, K).
        logits: (B, K).
    """
    logits = logits.detach().cpu().double()
    log_probabilities = logits.log_softmax(dim=1)
    order = logits.sort(dim=1, descending=True, stable=True).indices[:, :NUM_RANKED]
    rows = zip(
        samples,
        logits.isfinite().all(dim=1).tolist(),
        order.tolist(),
        log_probabilities.gather(1, order).exp().tolist(),
        (-log_probabilities.gather(1, _labels(samples))).squeeze(1).tolist(),
        strict=True,
    )
    return [
        Prediction(
            sample["image_id"],
            sample["file_name"],
            sample["label"],
            tuple(ranked) if is_finite else (),
            tuple(probabilities) if is_finite else (),
            loss if is_finite else math.nan,
        )
        for sample, is_finite, ranked, probabilities, loss in rows
    ]


def _labels(samples: Sequence[Mapping]) -> Tensor:
    return torch.tensor([[sample["label"]] for sample in samples])


def count_images(predictions: Sequence[Prediction], num_classes: int) -> np.ndarray:
    """Return the number of images of each true class, int64 (K,)."""
    labels = np.array([prediction.label for prediction in predictions], dtype=np.int64)
    return np.bincount(labels, minlength=num_classes)


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
                RANKED_SEPARATOR.join(names),
            )
        )
    write_rows(path, rows)


def write_confusion(path: Path, counts: np.ndarray, class_names: Sequence[str]) -> None:
    """Write the confusion matrix, (K, K), rows true, with the names as first row and column.

    Raises:
        InputError: the file cannot be written.
    """
    rows = [(name, *row) for name, row in zip(class_names, counts.tolist(), strict=True)]
    write_rows(path, [("true \\ predicted", *class_names), *rows])


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
    write_rows(path, [("class", "num_images", "accuracy"), *rows])
