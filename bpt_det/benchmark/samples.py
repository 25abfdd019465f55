"""Training samples of noise, as detectors take them."""

import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

_NUM_INSTANCES = 20


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


def _octagon(box: torch.Tensor) -> torch.Tensor:
    """Return the corners x, y, … of an octagon inside a box."""
    angles = torch.arange(8, dtype=torch.float64) * torch.pi / 4
    center, radius = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    points = center + radius * torch.stack([angles.cos(), angles.sin()], dim=1)
    return points.flatten()
