"""Synthetic inputs: training samples of noise, and predictions derived from true boxes.

Shape legend: N predictions of an image, S side of a mask within its box.
"""

import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks
from torch import Tensor

_NUM_INSTANCES = 20  # of a training sample
_NUM_PREDICTIONS = 100
_MASK_SIDE = 28
_SHIFT = 0.05  # standard deviation of a side of a true box, in sizes of the box
_WRONG_CLASSES = 0.1  # share of true boxes that get a class at random
_LARGEST = 0.4  # side of an invented box, in sides of the image


def make_sample(size: int, num_classes: int, seed: int, *, uses_polygons: bool = True) -> dict:
    """Return a sample with instances at random places.

    Args:
        size: side in pixels.
        num_classes: of the instances.
        seed: of all choices.
        uses_polygons: masks are polygons, else bitmaps.
    """
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(_NUM_INSTANCES, 2, generator=generator) * 0.7 * size
    sides = (0.05 + 0.25 * torch.rand(_NUM_INSTANCES, 2, generator=generator)) * size
    boxes = torch.cat([corners, corners + sides], dim=1)
    polygons = [[_octagon(box).numpy()] for box in boxes.double()]
    instances = Instances((size, size), gt_boxes=Boxes(boxes))
    instances.gt_classes = torch.randint(num_classes, (_NUM_INSTANCES,), generator=generator)
    masks = PolygonMasks(polygons)
    instances.gt_masks = (
        masks if uses_polygons else BitMasks.from_polygon_masks(masks.polygons, size, size)
    )
    image = torch.randint(256, (3, size, size), dtype=torch.uint8, generator=generator)
    return {"image": image, "instances": instances, "height": size, "width": size}


def _octagon(box: Tensor) -> Tensor:
    """Return the corners x, y, … of an octagon inside a box."""
    angles = torch.arange(8, dtype=torch.float64) * torch.pi / 4
    center, radius = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    points = center + radius * torch.stack([angles.cos(), angles.sin()], dim=1)
    return points.flatten()


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
