"""Annotations of ground truth and of predictions."""

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.structures import Boxes, BoxMode, Instances

from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.visualization.annotations import (
    ground_truth_annotations,
    mask_pixels,
    mask_share,
    predicted_annotations,
    resize_mask,
)

HEIGHT, WIDTH = 48, 64


def record_with(segmentation):
    entry = {
        "bbox": [10, 5, 20, 8],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 4,
        "segmentation": segmentation,
    }
    return {"height": HEIGHT, "width": WIDTH, "annotations": [entry]}


def segmentations():
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[5:13, 10:30] = 1
    counts = [HEIGHT * 10 + 5] + [8, HEIGHT - 8] * 20  # column by column
    counts[-1] = HEIGHT * WIDTH - sum(counts[:-1])
    return {
        "polygons": [[10, 5, 30, 5, 30, 13, 10, 13]],
        "run lengths": {"size": [HEIGHT, WIDTH], "counts": counts},
        "compressed run lengths": mask_util.encode(np.asfortranarray(mask)),
    }


@pytest.mark.parametrize("kind", segmentations())
def test_every_form_of_annotation_is_read(kind):
    (annotation,) = ground_truth_annotations(record_with(segmentations()[kind]), HEIGHT, WIDTH)
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[5:13, 10:30] = True
    assert (annotation.class_index, annotation.score, annotation.is_crowd) == (4, None, False)
    assert annotation.box == (10, 5, 30, 13)
    np.testing.assert_array_equal(mask_pixels(annotation.mask, HEIGHT, WIDTH), expected)


def test_ground_truth_follows_the_size_of_the_drawn_image():
    record = record_with(segmentations()["polygons"])
    (annotation,) = ground_truth_annotations(record, HEIGHT // 2, WIDTH * 2)
    assert annotation.box == (20, 2.5, 60, 6.5)
    pixels = mask_pixels(annotation.mask, HEIGHT // 2, WIDTH * 2)
    assert pixels.shape == (HEIGHT // 2, WIDTH * 2)
    assert not pixels[:, :20].any() and not pixels[:, 60:].any() and pixels[4, 20:60].all()


def test_an_annotation_without_a_mask_keeps_its_box():
    record = record_with(None)
    del record["annotations"][0]["segmentation"]
    (annotation,) = ground_truth_annotations(record, HEIGHT, WIDTH)
    assert annotation.mask is None and annotation.box == (10, 5, 30, 13)


def test_predictions_are_drawn_as_they_are():
    instances = Instances((4, 5))
    instances.scores = torch.tensor([0.75, 0.5])
    instances.pred_classes = torch.tensor([2, 1])
    instances.pred_boxes = Boxes(torch.tensor([[0.0, 1.0, 2.0, 3.0]] * 2))
    instances.pred_masks = torch.rand(2, 4, 5) > 0.5
    annotations = predicted_annotations(instances)
    assert [(a.class_index, a.score, a.box) for a in annotations] == [
        (2, 0.75, (0, 1, 2, 3)),
        (1, 0.5, (0, 1, 2, 3)),
    ]
    np.testing.assert_array_equal(annotations[1].mask, instances.pred_masks[1].numpy())
    instances.remove("pred_masks")
    assert predicted_annotations(instances)[0].mask is None


@pytest.mark.parametrize("size", [(12, 17), (5, 40)])
def test_a_code_is_the_mask_that_it_stands_for(size):
    pixels = torch.from_numpy(np.random.default_rng(1).random((1, 12, 17)) > 0.6)
    (code,) = RunLengthMasks.from_pixels(pixels).codes
    mask = pixels[0].numpy()
    np.testing.assert_array_equal(mask_pixels(code, *size), resize_mask(mask, *size))
    np.testing.assert_array_equal(mask_pixels(mask, *size), resize_mask(mask, *size))
    assert mask_share(code) == mask_share(mask) == mask.mean()
