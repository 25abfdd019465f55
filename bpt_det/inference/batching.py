"""Running a trained detector on single images, on batches, and what it finds as objects to draw."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import convert_PIL_to_numpy
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Instances
from PIL import Image
from torch import nn

from bpt_det.utils.errors import InputError
from bpt_det.visualization.annotations import DrawnObject


@torch.no_grad()
def predict(
    model: nn.Module, mapper: Callable[[dict], dict], record: dict, height: int, width: int
) -> Instances:
    """Return what a detector in evaluation mode finds in one image, on the CPU.

    Args:
        model: maps a list of one mapped record to its ``instances``.
        mapper: the mapper of the test data.
        record: at least ``file_name`` and ``image_id``.
        height, width: boxes and masks are given at this size, whatever the size of the file.
    """
    mapped = {**mapper(record), "height": height, "width": width}
    return model([mapped])[0]["instances"].to("cpu")


def map_array(mapper: DatasetMapper, image: np.ndarray) -> dict:
    """Return what a mapper of test data makes of a file with this image.

    Args:
        mapper: its augmentations and its ``image_format`` are used.
        image: RGB (H, W, 3), uint8.

    Raises:
        InputError: the image is too thin to be resized.
    """
    height, width = image.shape[:2]
    pixels = convert_PIL_to_numpy(Image.fromarray(image), mapper.image_format)
    resized = T.AugInput(pixels)
    try:
        mapper.augmentations(resized)
    except ValueError as error:
        raise InputError(
            f"an image of {height} x {width} pixels is too thin to be resized ({error}); cut it "
            "into parts."
        ) from error
    planes = np.ascontiguousarray(resized.image.transpose(2, 0, 1))
    return {"image": torch.as_tensor(planes), "height": height, "width": width}


def predict_batch(model: nn.Module, batch: Sequence[dict]) -> list[Instances]:
    """Return what a detector in evaluation mode finds in each mapped image, on the CPU.

    Images run together only if each is padded as it would be alone, since padding changes what a
    ViT makes of an image.
    """
    together = defaultdict(list)
    for index, one in enumerate(batch):
        together[_padded_size(model, one["image"])].append(index)
    found = {}
    with torch.inference_mode():
        for indexes in together.values():
            outputs = model([batch[index] for index in indexes])
            found |= zip(indexes, (one["instances"].to("cpu") for one in outputs), strict=True)
    return [_copy(found[index]) for index in range(len(batch))]


def set_score_threshold(model: nn.Module, threshold: float) -> None:
    """Make a detector drop the predictions that score no more than a threshold.

    It does so before it makes masks, so a high threshold saves time and memory. Those above it
    stay the same: no prediction removes one of a higher score.
    """
    for module in model.modules():
        if isinstance(module, FastRCNNOutputLayers):
            module.test_score_thresh = threshold


def predicted_objects(instances: Instances, score_threshold: float = 0.0) -> list[DrawnObject]:
    """Return the predictions (on the CPU) whose score is at least the threshold, for drawing."""
    kept = instances[instances.scores >= score_threshold]
    masks = kept.pred_masks.numpy() if kept.has("pred_masks") else [None] * len(kept)
    columns = (kept.pred_classes.tolist(), kept.pred_boxes.tensor.tolist(), masks)
    return [
        DrawnObject(class_index, tuple(box), mask, score)
        for class_index, box, mask, score in zip(*columns, kept.scores.tolist(), strict=True)
    ]


def _padded_size(model: nn.Module, image: torch.Tensor) -> tuple[int, ...]:
    """The (H, W) at which an image alone enters the backbone."""
    backbone = getattr(model, "backbone", None)
    step = max(1, getattr(backbone, "size_divisibility", 1))
    least = getattr(backbone, "square_pad", 0)
    return tuple(max(least, -(-side // step) * step) for side in image.shape[-2:])


def _copy(instances: Instances) -> Instances:
    """Tensors made in inference mode cannot be changed in place; copies of them can."""
    fields = {name: value.clone() for name, value in instances.get_fields().items()}
    return Instances(instances.image_size, **fields)
