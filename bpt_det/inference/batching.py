"""Batches of images for a detector: test augmentation of arrays, and runs grouped by padding."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import convert_PIL_to_numpy
from detectron2.structures import Instances
from PIL import Image
from torch import nn

from bpt_det.detection import SimpleFeaturePyramid
from bpt_det.utils.errors import InputError


def map_array(mapper: DatasetMapper, image: np.ndarray, name: str) -> dict:
    """Return the sample that a mapper of test data would return for a file with this image.

    Args:
        mapper: its augmentations and its ``image_format`` are used.
        image: RGB (H, W, 3), uint8.
        name: of the image, for the error.

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
            f"{name} of {height} x {width} pixels is too thin to be resized ({error}); cut it "
            "into parts."
        ) from error
    planes = np.ascontiguousarray(resized.image.transpose(2, 0, 1))
    return {"image": torch.as_tensor(planes), "height": height, "width": width}


def predict_batch(model: nn.Module, batch: Sequence[dict]) -> list[Instances]:
    """Return the predictions of a detector in evaluation mode in each mapped image, on the CPU.

    Images run together only if each is padded as it would be alone, since padding changes the
    tokens of a ViT.
    """
    groups = defaultdict(list)
    for index, sample in enumerate(batch):
        groups[_padded_size(model, sample["image"])].append(index)
    predictions = {}
    with torch.inference_mode():
        for indexes in groups.values():
            outputs = model([batch[index] for index in indexes])
            for index, output in zip(indexes, outputs, strict=True):
                predictions[index] = output["instances"].to("cpu")
    return [_copy(predictions[index]) for index in range(len(batch))]


def _padded_size(model: nn.Module, image: torch.Tensor) -> tuple[int, ...]:
    """Return the (H, W) at which an image alone enters the ViT, or else its own."""
    backbone = getattr(model, "backbone", None)
    size = tuple(image.shape[-2:])
    return backbone.padded_size(*size) if isinstance(backbone, SimpleFeaturePyramid) else size


def _copy(instances: Instances) -> Instances:
    """Tensors made in inference mode cannot be changed in place; copies of them can."""
    fields = {name: value.clone() for name, value in instances.get_fields().items()}
    return Instances(instances.image_size, **fields)
