"""Image classifier: a trained prompted classifier as a function of images."""

import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import instantiate
from omegaconf import DictConfig

from bpt_det.classification import ClassificationMapper, PromptedClassifier
from bpt_det.data.images import ImageLike
from bpt_det.engine.checkpoint import read_checkpoint, stored_classes
from bpt_det.engine.run import load_trained_model
from bpt_det.utils.errors import InputError, check_choice, check_count

from .batching import run_batches
from .runs import (
    CHANNEL_ORDERS,
    ChannelOrder,
    TrainedModel,
    check_checkpoint,
    read_config,
    read_pixels,
)
from .task_export import open_task


class ClassScore(NamedTuple):
    """A class that an image may be of: name, index and probability in [0, 1]."""

    name: str
    class_index: int
    probability: float


class ImageClassifier(TrainedModel):
    """Tells the likeliest classes of images, as an evaluation does of those of a dataset.

    Needs the config, the checkpoint and the frozen ViT that the config names, but no dataset.
    Computes in float32.

    Args:
        config: path of a ``.py`` config or of a run's ``config.yaml``, or a loaded config, which
            is not changed.
        checkpoint: file that a training run has written; it holds the names of the classes.
        overrides: settings of the config as ``key=value``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; None takes ``train.device`` of the config.
        channel_order: of arrays: ``RGB``, or ``BGR`` as OpenCV reads them.
        trust: packages whose classes and functions a ``config.yaml`` may name.

    Attributes:
        class_names: by class index.
        model: the classifier in evaluation mode.

    Raises:
        InputError: the config or a file cannot be used, or an argument is out of range.
    """

    def __init__(
        self,
        config: str | os.PathLike | DictConfig,
        checkpoint: str | os.PathLike,
        *,
        overrides: Sequence[str] = (),
        device: str | None = None,
        channel_order: ChannelOrder = "RGB",
        trust: Sequence[str] = (),
    ) -> None:
        check_choice("channel_order", channel_order, CHANNEL_ORDERS)
        check_checkpoint(checkpoint)
        cfg = read_config(config, overrides, trust, device=device)
        content = read_checkpoint(str(checkpoint))
        names, _ = stored_classes(content)
        if cfg.model.get("num_classes") is None:
            raise InputError(
                "this is no config of a classifier, as its model has no num_classes; give that of "
                "a classifier's run."
            )
        if names is not None:
            cfg.model.num_classes = len(names)
        model = load_trained_model(cfg, str(checkpoint), content=content)
        mapper = instantiate(cfg.dataloader.test.mapper)
        if not isinstance(model, PromptedClassifier) or not isinstance(
            mapper, ClassificationMapper
        ):
            raise InputError(
                "model and test mapper must be a PromptedClassifier and a ClassificationMapper, "
                f"got {type(model).__name__} and {type(mapper).__name__}."
            )
        self.model = model
        self._mapper = mapper
        self.class_names = names or [f"class {i}" for i in range(cfg.model.num_classes)]
        self._checkpoint = str(checkpoint)
        self._channel_order: ChannelOrder = channel_order

    @classmethod
    def from_task(
        cls, task: str | os.PathLike, vit: str | os.PathLike | None = None, **options: Any
    ) -> "ImageClassifier":
        """Return the classifier of a task file, on its frozen ViT.

        Args:
            task: the file, or the folder that an export has written.
            vit: weights of the frozen ViT; None takes those that the task's card names.
            options: of `ImageClassifier`.

        Raises:
            InputError: it is no task file of a classifier, was trained on another ViT, or see
                `ImageClassifier`.
        """
        cfg, path = open_task(task, vit, "classification", options.get("trust", ()))
        return cls(cfg, path, **options)

    def __repr__(self) -> str:
        device = self.model.pixel_mean.device
        number = len(self.class_names)
        return (
            f"{type(self).__name__}({self._checkpoint!r}, device={str(device)!r}, {number} classes)"
        )

    def __call__(
        self, image: ImageLike | Sequence[ImageLike], *, top_k: int = 5, batch_size: int = 32
    ) -> list[ClassScore] | list[list[ClassScore]]:
        """Return the likeliest classes of an image, the likeliest first.

        Args:
            image: array (H, W, 3), uint8 in [0, 255]; a PIL image; or a path; see
                `Predictor.__call__`. A list of them gives a list.
            top_k: classes of each image; all, where there are fewer.
            batch_size: images of a list that run together.

        Raises:
            InputError: an image cannot be used, or an argument is out of range.
        """
        classify = functools.partial(self.classify, top_k=top_k)
        return run_batches(image, self.prepare, classify, batch_size)

    def prepare(self, image: ImageLike) -> dict:
        """Return an image as the model takes it: resized, its center cut out.

        Raises:
            InputError: the image cannot be used.
        """
        return {"image": self._mapper.crop_image(read_pixels(image, self._channel_order))}

    def classify(self, batch: Sequence[dict], top_k: int = 5) -> list[list[ClassScore]]:
        """Return the likeliest classes of images that `prepare` has returned, see `__call__`."""
        check_count("top_k", top_k)
        with torch.inference_mode():
            outputs = self.model(list(batch))
        logits = torch.stack([output["logits"] for output in outputs]).cpu().double()
        # Stable: of equal logits the class of lower index comes first, as in evaluations.
        ranked = logits.sort(dim=1, descending=True, stable=True).indices[:, :top_k]
        probabilities = logits.softmax(dim=1).gather(1, ranked)
        return [
            [
                ClassScore(self.class_names[index], index, probability)
                for index, probability in zip(*row, strict=True)
            ]
            for row in zip(ranked.tolist(), probabilities.tolist(), strict=True)
        ]
