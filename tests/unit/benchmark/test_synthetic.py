"""Synthetic training samples."""

import pytest
import torch
from detectron2.structures import BitMasks, PolygonMasks

from bpt_det.benchmark.synthetic import make_sample


@pytest.mark.parametrize("uses_polygons", [True, False])
def test_objects_lie_in_the_image_and_masks_in_their_boxes(uses_polygons):
    sample = make_sample(96, 7, seed=1, uses_polygons=uses_polygons)
    objects = sample["instances"]
    assert sample["image"].shape == (3, 96, 96) and len(objects) == 20
    boxes = objects.gt_boxes.tensor
    assert (boxes >= 0).all() and (boxes <= 96).all() and (boxes[:, :2] < boxes[:, 2:]).all()
    assert 0 <= objects.gt_classes.min() and objects.gt_classes.max() < 7
    assert isinstance(objects.gt_masks, PolygonMasks if uses_polygons else BitMasks)
    of_masks = objects.gt_masks.get_bounding_boxes().tensor
    assert (of_masks - boxes).abs().max() <= 1.5  # a bitmap covers whole pixels


def test_the_seed_decides():
    first, same, other = (make_sample(32, 3, seed) for seed in (4, 4, 5))
    assert torch.equal(first["image"], same["image"])
    assert not torch.equal(first["image"], other["image"])
