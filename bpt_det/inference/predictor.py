"""Predictor: a trained detector as a function of images."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.config import instantiate
from detectron2.data import DatasetMapper, MetadataCatalog
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Instances
from omegaconf import DictConfig
from torch import nn

from bpt_det.data.images import ImageLike
from bpt_det.detection.detection_data import use_detection_data
from bpt_det.detection.evaluation.roi_mask_detector import without_pasting
from bpt_det.engine.checkpoint import read_checkpoint, stored_classes
from bpt_det.engine.run import load_trained_model
from bpt_det.utils.errors import InputError, check_choice, check_count
from bpt_det.utils.progress import progress_bar
from bpt_det.visualization.annotations import predicted_annotations
from bpt_det.visualization.draw import DrawStyle, draw_annotations
from bpt_det.visualization.sheet import shrink

from .batching import map_array, predict_batch, run_batches, with_run_lengths
from .defaults import DEFAULT_OVERLAP, DEFAULT_SCORE_THRESHOLD
from .runs import (
    CHANNEL_ORDERS,
    ChannelOrder,
    TrainedModel,
    check_checkpoint,
    read_config,
    read_pixels,
)
from .speed import speed_up
from .task_export import open_task
from .tiling import merge_predictions, tile_boxes

_MAX_PICTURE_SIDE = 2048  # pixels

logger = logging.getLogger(__name__)


class Predictor(TrainedModel):
    """Finds objects in images, as an evaluation does in those of a dataset.

    Needs the config, the checkpoint and the frozen ViT that the config names; no dataset and no
    token statistics.

    Args:
        config: path of a ``.py`` config or of a run's ``config.yaml``, or a loaded config, which
            is not changed.
        checkpoint: file that a training run has written, or a task file.
        overrides: settings of the config as ``key=value``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; None takes ``train.device`` of the config.
        score_threshold: predictions of a higher score are returned, in [0, 1]. None takes
            ``test_score_thresh`` of the config's box predictors, which evaluations go by.
        channel_order: of arrays: ``RGB``, or ``BGR`` as OpenCV reads them.
        share_vit_of: a predictor whose frozen ViT this one uses too, on its device; so a second
            task costs the memory of its prompts and heads only.
        precision: of backbone, pyramid and box heads: ``float32``, as evaluations compute,
            ``bfloat16``, ``float16``, or ``auto``, as training does.
        compile_backbone: by `torch.compile`, see `speed_up`.
        proposals: regions of an image that the heads look at, at most; fewer are faster, and miss
            objects. None: as many as evaluations do.
        trust: packages whose classes and functions a ``config.yaml`` may name.

    Attributes:
        class_names: by class index. From the checkpoint, else from the dataset, else
            ``class 0``, ``class 1`` …
        category_ids: of the dataset that was trained on, by class index; None if not known.
        model: the detector in evaluation mode.
        score_threshold: predictions of a higher score are returned; None if the model has none.

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
        score_threshold: float | None = DEFAULT_SCORE_THRESHOLD,
        channel_order: ChannelOrder = "RGB",
        share_vit_of: "Predictor | None" = None,
        precision: str = "float32",
        compile_backbone: bool = False,
        proposals: int | None = None,
        trust: Sequence[str] = (),
    ) -> None:
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise InputError(f"score_threshold must be in [0, 1], got {score_threshold}.")
        check_choice("channel_order", channel_order, CHANNEL_ORDERS)
        cfg = read_config(config, overrides, trust, use_detection_data, device=device)
        check_checkpoint(checkpoint)
        shared = None if share_vit_of is None else share_vit_of.model
        content = read_checkpoint(str(checkpoint))
        self.model: nn.Module = load_trained_model(
            cfg, str(checkpoint), share_vit_of=shared, content=content
        )
        speed_up(self.model, precision, compile_backbone=compile_backbone, proposals=proposals)
        self.score_threshold = _score_threshold(self.model, score_threshold)
        self._mapper = instantiate(cfg.dataloader.test.mapper)
        if not isinstance(self._mapper, DatasetMapper):
            raise InputError(
                "the mapper of the test data must be a DatasetMapper of Detectron2, got "
                f"{type(self._mapper).__name__}.",
                parameter="mapper",
            )
        names, ids = stored_classes(content)
        self.class_names = _class_names(cfg, names)
        is_known = ids is not None and len(ids) == len(self.class_names)
        self.category_ids = ids if is_known else None
        self._checkpoint = str(checkpoint)
        self._channel_order = channel_order

    @property
    def channel_format(self) -> str:
        """Order in which the model takes the channels, ``RGB`` or ``BGR``."""
        return self._mapper.image_format

    @classmethod
    def from_task(
        cls,
        task: str | os.PathLike,
        vit: "str | os.PathLike | Predictor | None" = None,
        **options: Any,
    ) -> "Predictor":
        """Return the detector of a task file, on its frozen ViT.

        Args:
            task: the file, or the folder that an export has written.
            vit: weights of the frozen ViT, or a predictor whose ViT this one uses too; None takes
                those that the task's card names.
            options: of `Predictor`.

        Raises:
            InputError: it is no task file of a detector, was trained on another ViT, or see
                `Predictor`.
        """
        if isinstance(vit, Predictor):
            options["share_vit_of"], vit = vit, None
        cfg, path = open_task(task, vit, "detection", options.get("trust", ()))
        return cls(cfg, path, **options)

    def __repr__(self) -> str:
        names = list(self.class_names)
        classes = ", ".join([*names[:3], "…"] if len(names) > 4 else names)
        device = next(self.model.parameters()).device
        return (
            f"{type(self).__name__}({self._checkpoint!r}, device={str(device)!r}, "
            f"score_threshold={self.score_threshold}, {len(names)} classes: {classes})"
        )

    def __call__(
        self, image: ImageLike | Sequence[ImageLike], *, batch_size: int = 8
    ) -> Instances | list[Instances]:
        """Return the predictions in an image, on the CPU.

        Args:
            image: array (H, W, 3), uint8 in [0, 255]; a PIL image; or a path. Gray and
                transparent images are taken too, 16 bits are scaled to 8, and a photograph is
                turned upright as its EXIF data say. A list of them gives a list.
            batch_size: images of a list that run together; the result is that of one by one.

        Returns:
            `Instances` of image_size (H, W) in pixel coordinates of the upright image, with
            ``pred_boxes`` (N, 4) XYXY, ``scores`` (N,), ``pred_classes`` (N,) and ``pred_masks``
            (N, H, W), bool; the best score first.

        Raises:
            InputError: an image cannot be used.
        """
        return run_batches(image, self.prepare, self.predict, batch_size)

    def prepare(
        self, image: ImageLike, *, size: tuple[int, int] | None = None, name: str = "an image"
    ) -> dict:
        """Return an image as the model takes it: resized, with the size of its predictions beside.

        Args:
            image: a single one, see `__call__`.
            size: (H, W) at which boxes and masks are given; None: that of the image.
            name: of the image, for errors.

        Raises:
            InputError: the image cannot be used.
        """
        sample = map_array(self._mapper, self.read(image), name)
        if size is not None:
            sample["height"], sample["width"] = size
        return sample

    def read(self, image: ImageLike) -> np.ndarray:
        """Return a single image, see `__call__`, as RGB (H, W, 3), uint8."""
        return read_pixels(image, self._channel_order)

    def predict(self, batch: Sequence[dict], *, run_lengths: bool = False) -> list[Instances]:
        """Return the predictions in images that `prepare` has returned, see `__call__`.

        Args:
            batch: of `prepare`.
            run_lengths: masks are `RunLengthMasks`, made without those of the whole image, in place
                of an array of N x H x W bytes.
        """
        if not run_lengths:
            return predict_batch(self.model, batch)
        return [with_run_lengths(i) for i in predict_batch(without_pasting(self.model), batch)]

    def predict_tiles(
        self,
        image: ImageLike,
        tile: int,
        *,
        overlap: float = DEFAULT_OVERLAP,
        whole_image: bool = True,
        batch_size: int = 4,
    ) -> Instances:
        """Return the predictions in a large image, which the detector sees in tiles.

        Small objects are as large in a tile as in the images of the training. Those of
        overlapping tiles are merged, see `merge_predictions`.

        Args:
            image: a single one, see `__call__`.
            tile: side of a tile, pixels of the image; 16 or more.
            overlap: of neighboring tiles, at least; share of the side, in [0, 0.9].
            whole_image: also looks at the whole image, for objects larger than a tile.
            batch_size: tiles that run together.

        Returns:
            see `__call__`, with `RunLengthMasks` as ``pred_masks``.

        Raises:
            InputError: the image cannot be used, or an argument is out of range.
        """
        check_count("batch_size", batch_size)
        pixels = self.read(image)
        size = height, width = pixels.shape[:2]
        boxes = tile_boxes(height, width, tile, overlap)
        if whole_image and len(boxes) > 1:
            boxes.insert(0, (0, 0, width, height))
        model = without_pasting(self.model)
        parts = []
        with progress_bar(total=len(boxes), desc="tiles", leave=False) as bar:
            for start in range(0, len(boxes), batch_size):
                chosen = boxes[start : start + batch_size]
                batch = [
                    map_array(self._mapper, pixels[y0:y1, x0:x1], "a tile")
                    for x0, y0, x1, y1 in chosen
                ]
                predictions = predict_batch(model, batch)
                for (x0, y0, *_), instances in zip(chosen, predictions, strict=True):
                    parts.append(with_run_lengths(instances, offset=(x0, y0), size=size))
                bar.update(len(chosen))
        return merge_predictions(parts)

    def draw(
        self,
        image: ImageLike,
        instances: Instances,
        *,
        keep_size: bool = False,
        class_colors: Sequence | None = None,
        style: DrawStyle | None = None,
    ) -> np.ndarray:
        """Return the image with masks, names and scores drawn on it, as RGB (H, W, 3), uint8.

        Args:
            image: a single one, see `__call__`.
            instances: its predictions.
            keep_size: False shows an image under 512 pixels larger, so that labels are legible,
                and one over 2048 smaller, so that it is drawn in seconds.
            class_colors: by class index, RGB in [0, 255]; None takes a palette.
            style: see `DrawStyle`.

        Raises:
            InputError: the image cannot be used, or is of another size than the instances.
        """
        picture = self.read(image)
        if picture.shape[:2] != instances.image_size:
            raise InputError(
                f"this is an image of {picture.shape[0]} x {picture.shape[1]} pixels but the "
                f"instances are of one of {instances.image_size[0]} x {instances.image_size[1]}; "
                "draw each on its own image."
            )
        if not keep_size:
            picture = shrink(picture, _MAX_PICTURE_SIDE)
        height, width = picture.shape[:2]
        annotations = predicted_annotations(instances, height, width)
        return draw_annotations(
            picture,
            annotations,
            self.class_names,
            class_colors,
            magnify=not keep_size,
            style=style,
        )


def _score_threshold(model: nn.Module, threshold: float | None) -> float | None:
    """Make a detector drop the predictions that score no more than a threshold, and return it.

    It does so before it makes masks, so a high threshold saves time and memory. Those above it
    stay the same: no prediction removes one of a higher score. None leaves the detector's own.
    """
    heads = [module for module in model.modules() if isinstance(module, FastRCNNOutputLayers)]
    if threshold is None:
        return heads[-1].test_score_thresh if heads else None  # a cascade goes by its last one
    for head in heads:
        head.test_score_thresh = threshold
    return threshold


def _class_names(cfg: DictConfig, stored: Sequence[str] | None) -> list[str]:
    """Return the names of a detector's classes by class index.

    Those that the checkpoint holds, if they are as many as the classes; else those of the config's
    test data, which are read for them if need be; else ``class 0``, ``class 1`` …
    """
    count = cfg.model.roi_heads.num_classes
    if stored is not None and len(stored) == count:
        return list(stored)
    dataset = cfg.dataloader.test.dataset
    metadata = MetadataCatalog.get(dataset.names)
    if "thing_classes" not in metadata.as_dict():
        try:
            instantiate(dataset)  # reads the names
        except InputError as error:
            logger.warning("classes are shown by number, as their names are unknown: %s", error)
    names = metadata.get("thing_classes")
    if names is not None and len(names) == count:
        return list(names)
    return [f"class {index}" for index in range(count)]
