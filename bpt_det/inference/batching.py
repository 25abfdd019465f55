"""Batches of images for a detector: test augmentation, runs grouped by padding, mask forms."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import convert_PIL_to_numpy
from detectron2.structures import Boxes, Instances, ROIMasks
from PIL import Image
from torch import nn

from bpt_det.data.images import ImageLike
from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.detection import SimpleFeaturePyramid
from bpt_det.detection.evaluation.roi_run_lengths import encode_roi_masks
from bpt_det.utils.errors import InputError, check_count
from bpt_det.utils.progress import progress_bar

Result = TypeVar("Result")


def run_batches(
    image: ImageLike | Sequence[ImageLike],
    prepare: Callable[[ImageLike], dict],
    run: Callable[[list[dict]], list[Result]],
    batch_size: int,
) -> Result | list[Result]:
    """Return the result of an image; of a list or tuple of images, a list of them.

    Args:
        image: or images.
        prepare: returns the sample of an image.
        run: returns the results of samples.
        batch_size: samples that run together, an integer >= 1.
    """
    if not isinstance(image, list | tuple):
        return run([prepare(cast(ImageLike, image))])[0]
    check_count("batch_size", batch_size)
    results = []
    starts = range(0, len(image), batch_size)
    for start in progress_bar(iterable=starts, desc="images", unit="batch", leave=False):
        results += run([prepare(member) for member in image[start : start + batch_size]])
    return results


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
    """Return the predictions of a model in evaluation mode in each mapped image, on the CPU.

    Images run together only if each is padded as it would be alone, since padding changes the
    tokens of a ViT.

    Args:
        model: a detector, or one by `without_pasting`.
        batch: of `map_array`.
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
    backbone = getattr(getattr(model, "detector", model), "backbone", None)
    size = tuple(image.shape[-2:])
    return backbone.padded_size(*size) if isinstance(backbone, SimpleFeaturePyramid) else size


def _copy(instances: Instances) -> Instances:
    """Tensors made in inference mode cannot be changed in place; copies of them can."""
    fields = {
        name: ROIMasks(value.tensor.clone()) if isinstance(value, ROIMasks) else value.clone()
        for name, value in instances.get_fields().items()
    }
    return Instances(instances.image_size, **fields)


def with_run_lengths(
    instances: Instances,
    *,
    offset: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
) -> Instances:
    """Return predictions with `RunLengthMasks`, in an image that they are a part of.

    Args:
        instances: on the CPU, of a detector or of a `RoiMaskDetector`.
        offset: (x, y) of their upper left corner in the image, pixels.
        size: (H, W) of the image; None: theirs.
    """
    size = size or instances.image_size
    fields = instances.get_fields()
    boxes = Boxes(instances.pred_boxes.tensor + torch.tensor([*offset, *offset]))
    fields = {**fields, "pred_boxes": boxes}
    if "roi_masks" in fields:
        masks = fields.pop("roi_masks").tensor
        fields["pred_masks"] = RunLengthMasks(encode_roi_masks(masks, boxes.tensor, size))
    elif "pred_masks" in fields:
        height, width = instances.image_size
        right, below = size[1] - offset[0] - width, size[0] - offset[1] - height
        padding = (offset[0], right, offset[1], below)
        parts = [
            RunLengthMasks.from_pixels(F.pad(mask[None], padding)) for mask in fields["pred_masks"]
        ]
        fields["pred_masks"] = RunLengthMasks.cat(parts)
    return Instances(size, **fields)
