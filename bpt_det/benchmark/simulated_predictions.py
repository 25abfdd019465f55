"""Predictions as a detector makes them, out of the true boxes of an image.

Shape legend: N predictions of an image, S side of a mask within its box.
"""

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, BoxMode, Instances
from torch import Tensor

_NUM_PREDICTIONS = 100
_MASK_SIDE = 28
_SHIFT = 0.05  # standard deviation of a side of a true box, in sizes of the box
_WRONG_CLASSES = 0.1  # share of true boxes that get a class at random
_LARGEST = 0.4  # side of an invented box, in sides of the image


def simulate_predictions(record: dict, num_classes: int, seed: int) -> Instances:
    """Return 100 predictions in an image, before Detectron2's postprocessing.

    True boxes are moved a little; the others are invented. Scores are random, those of true boxes
    higher in the mean. Masks are soft ellipses with uneven edges.

    Args:
        record: in Detectron2's standard form, with annotations.
        num_classes: of predictions.
        seed: of all choices.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = record["height"], record["width"]
    annotations = [a for a in record["annotations"] if not a.get("iscrowd", 0)]
    annotations = annotations[:_NUM_PREDICTIONS]
    true_boxes = torch.tensor(
        [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    ).reshape(-1, 4)
    sizes = (true_boxes[:, 2:] - true_boxes[:, :2]).repeat(1, 2)
    moved = true_boxes + _SHIFT * sizes * torch.randn(sizes.shape, generator=generator)
    num_invented = _NUM_PREDICTIONS - len(annotations)
    centers, sides = torch.rand(2, num_invented, 2, generator=generator) * torch.tensor(
        [width, height]
    )
    invented = torch.cat([centers - _LARGEST / 2 * sides, centers + _LARGEST / 2 * sides], dim=1)
    boxes = Boxes(torch.cat([moved, invented]))
    boxes.clip((height, width))
    classes = torch.randint(num_classes, (_NUM_PREDICTIONS,), generator=generator)
    is_right = torch.rand(len(annotations), generator=generator) >= _WRONG_CLASSES
    true_classes = torch.tensor([a["category_id"] for a in annotations], dtype=torch.long)
    classes[: len(annotations)][is_right] = true_classes[is_right]
    scores = torch.rand(_NUM_PREDICTIONS, generator=generator)
    scores[: len(annotations)] = 0.5 + 0.5 * scores[: len(annotations)]
    return Instances(
        (height, width),
        pred_boxes=boxes,
        pred_classes=classes,
        scores=scores,
        pred_masks=_soft_masks(generator)[:, None],
    )


def _soft_masks(generator: torch.Generator) -> Tensor:
    """Return probabilities (N, S, S)."""
    axis = torch.linspace(-1, 1, _MASK_SIDE)
    distance = axis[:, None] ** 2 + axis**2
    noise = torch.randn(_NUM_PREDICTIONS, 1, 7, 7, generator=generator)
    uneven = F.interpolate(noise, (_MASK_SIDE, _MASK_SIDE), mode="bilinear")[:, 0]
    return torch.sigmoid(6 * (0.9 - distance) + uneven)
