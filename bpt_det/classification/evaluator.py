"""Classification evaluator: accuracies and loss, with tables and a picture of the confusions."""

import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import Tensor

from bpt_det.utils.atomic import optional_write
from bpt_det.utils.errors import InputError, shorten

from .class_predictions import (
    Prediction,
    count_images,
    rank_classes,
    write_confusion,
    write_per_class,
    write_predictions,
)
from .confusion import count_confusions, write_most_confused

logger = logging.getLogger(__name__)


class ClassificationEvaluator(DatasetEvaluator):
    """Top-1, top-5 and mean per-class accuracy in percent, and the mean cross entropy in nats.

    Only images that were run are scored. An image whose logits are not finite counts as wrong and
    is named in a warning; the loss is nan then.

    Args:
        task: name of the metrics, as in ``val/top1``.
        output_dir: folder for ``predictions.csv``, ``confusion.csv``, ``per_class.csv`` and
            ``most_confused.png``, which replace earlier ones; None writes nothing.
    """

    def __init__(self, task: str = "val", output_dir: str | None = None) -> None:
        self._num_images = 0
        self._class_names: list[str] = []
        self._task = task
        self._output_dir = Path(output_dir) if output_dir else None
        self._predictions: list[Prediction] = []

    def use_loader(self, loader: Any) -> None:
        """Take class names and number of images from the loader that will be evaluated.

        Args:
            loader: its ``class_names`` and the length of its ``dataset`` are read.

        Raises:
            InputError: its data hold no image, or have no class names.
        """
        if len(loader.dataset) == 0:
            raise InputError(
                f"the {self._task} data hold no image to evaluate on; check the dataset's "
                f"{self._task} split"
            )
        if loader.class_names is None:
            raise InputError(f"the {self._task} data do not name their classes")
        self._num_images = len(loader.dataset)
        self._class_names = list(loader.class_names)

    def reset(self) -> None:
        self._predictions = []

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping[str, Tensor]]) -> None:
        """Take the results of one batch.

        Args:
            inputs: samples with ``label``, ``image_id`` and ``file_name``.
            outputs: each with ``logits`` (K,).

        Raises:
            InputError: K is not the number of classes of the data.
        """
        logits = torch.stack([output["logits"] for output in outputs])
        num_classes = len(self._class_names)
        if logits.shape[1] != num_classes:
            raise InputError(
                f"the {self._task} data have {num_classes} classes but the model has "
                f"num_classes={logits.shape[1]}; set it to {num_classes}",
                parameter="num_classes",
            )
        self._predictions += rank_classes(inputs, logits)

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return the metrics by task on the main process, {} on the others.

        Raises:
            InputError: no image was run.
        """
        gathered = comm.gather(self._predictions)
        if not comm.is_main_process():
            return {}
        # Samplers that give each process as many images give some to two.
        predictions = list({p.image_id: p for p in itertools.chain(*gathered)}.values())
        if not predictions:
            raise InputError(f"no image of the {self._task} data was evaluated; check their loader")
        self._report_faults(predictions)
        if self._output_dir is not None:
            with optional_write():
                self._write_files(self._output_dir, predictions)
        metrics = score(predictions, len(self._class_names))
        logger.info(
            "%s: %.2f %% top-1, %.2f %% top-5, %.2f %% mean per class, loss %.3f (%d images)",
            self._task,
            metrics["top1"],
            metrics["top5"],
            metrics["mean_per_class"],
            metrics["loss"],
            len(predictions),
        )
        return {self._task: metrics}

    def _report_faults(self, predictions: Sequence[Prediction]) -> None:
        faulty = [prediction.image_id for prediction in predictions if not prediction.is_finite]
        if faulty:
            logger.warning(
                "the logits of %d of %d %s images are not finite; these count as wrong: %s",
                len(faulty),
                len(predictions),
                self._task,
                shorten(faulty),
            )
        if len(predictions) != self._num_images:
            logger.warning(
                "%d images were evaluated, but the %s data have %d",
                len(predictions),
                self._task,
                self._num_images,
            )

    def _write_files(self, folder: Path, predictions: Sequence[Prediction]) -> None:
        names = self._class_names
        counts = count_confusions(predictions, len(names))
        write_predictions(folder / "predictions.csv", predictions, names)
        write_confusion(folder / "confusion.csv", counts, names)
        write_per_class(folder / "per_class.csv", predictions, names)
        write_most_confused(folder / "most_confused.png", predictions, names, self._task)
        logger.info("Predictions and confusions of the %s data are in %s", self._task, folder)


def score(predictions: Sequence[Prediction], num_classes: int) -> dict[str, float]:
    """Return ``top1``, ``top5`` and ``mean_per_class`` in percent and ``loss`` in nats.

    ``mean_per_class`` is the mean over the classes that occur among the labels. With fewer than 5
    classes ``top5`` counts all of them.
    """
    correct = [prediction for prediction in predictions if prediction.is_correct]
    num_images = count_images(predictions, num_classes)
    occurs = num_images > 0
    accuracy = count_images(correct, num_classes)[occurs] / num_images[occurs]
    return {
        "top1": 100 * len(correct) / len(predictions),
        "top5": 100 * sum(p.is_in_top5 for p in predictions) / len(predictions),
        "mean_per_class": 100 * float(np.mean(accuracy)),
        "loss": math.fsum(prediction.loss for prediction in predictions) / len(predictions),
    }
