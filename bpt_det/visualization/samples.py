"""Training samples as a mapper has made them, drawn with their labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

from .annotations import Annotation
from .draw import DrawStyle, draw_annotations
from .sheet import contact_sheet


def draw_sample(
    sample: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
    image_format: str = "RGB",
    *,
    class_colors: Sequence | None = None,
    style: DrawStyle | None = None,
) -> np.ndarray:
    """Return a sample's image as the model gets it, with its objects, RGB (H, W, 3), uint8.

    Args:
        sample: with ``image`` (3, H, W), uint8, and of a detector ``instances``.
        class_names: by class index.
        image_format: RGB or BGR.
        class_colors, style: of `draw_annotations`.
    """
    image = np.ascontiguousarray(sample["image"].cpu().numpy().transpose(1, 2, 0))
    if image_format == "BGR":
        image = np.ascontiguousarray(image[..., ::-1])
    instances = sample.get("instances")
    annotations = [] if instances is None else mapped_annotations(instances)
    return draw_annotations(image, annotations, class_names, class_colors, style=style)


def draw_samples(
    samples: Sequence[Mapping[str, Any]],
    class_names: Sequence[str] | None = None,
    image_format: str = "RGB",
) -> np.ndarray:
    """Return a contact sheet of samples, see `draw_sample`, under their files' names or classes."""
    pictures = [draw_sample(sample, class_names, image_format) for sample in samples]
    return contact_sheet(pictures, [_label(sample, class_names) for sample in samples])


def mapped_annotations(instances: Instances) -> list[Annotation]:
    """Return the objects of a mapped training sample."""
    height, width = instances.image_size
    boxes: Boxes = instances.gt_boxes
    masks: list[np.ndarray | None] = [None] * len(instances)
    if instances.has("gt_masks"):
        given = instances.gt_masks
        if isinstance(given, PolygonMasks):
            given = BitMasks.from_polygon_masks(given, height, width)
        masks = list(given.tensor.cpu().numpy().astype(bool))
    return [
        Annotation(class_index, (box[0], box[1], box[2], box[3]), mask)
        for class_index, box, mask in zip(
            instances.gt_classes.tolist(), boxes.tensor.tolist(), masks, strict=True
        )
    ]


def _label(sample: Mapping[str, Any], class_names: Sequence[str] | None) -> str:
    label = sample.get("label")
    if label is not None and class_names is not None:
        return class_names[label]
    return str(sample.get("file_name", "")).replace("\\", "/").rsplit("/", 1)[-1]
