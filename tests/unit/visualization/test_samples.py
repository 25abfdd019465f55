"""Training samples: drawn are the objects that the model gets, in the colors of the image."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks

from bpt_det.visualization.samples import draw_sample, draw_samples, mapped_annotations
from bpt_det.visualization.sheet import SHEET_WIDTH

HEIGHT, WIDTH = 40, 600


def sample(masks=None, **fields):
    image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
    image[2] = 200
    instances = Instances((HEIGHT, WIDTH), gt_classes=torch.tensor([1]))
    instances.gt_boxes = Boxes(torch.tensor([[10.0, 5.0, 50.0, 25.0]]))
    if masks is not None:
        instances.gt_masks = masks
    return {"image": image, "instances": instances, **fields}


@pytest.mark.parametrize("kind", ["polygon", "bitmask"])
def test_masks_of_both_formats_are_those_of_the_sample(kind):
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:25, 10:50] = True
    masks = BitMasks(torch.from_numpy(expected)[None])
    if kind == "polygon":
        masks = PolygonMasks([[np.array([10.0, 5, 50, 5, 50, 25, 10, 25])]])
    (annotation,) = mapped_annotations(sample(masks)["instances"])
    assert annotation.class_index == 1 and annotation.box == (10, 5, 50, 25)
    np.testing.assert_array_equal(annotation.mask, expected)


@pytest.mark.parametrize(("image_format", "channel"), [("RGB", 2), ("BGR", 0)])
def test_colors_are_those_of_the_image(image_format, channel):
    picture = draw_sample(sample(), image_format=image_format)
    assert picture[-1, -1, channel] == 200 and picture[-1, -1].sum() == 200


def test_a_sample_of_a_classifier_stands_under_its_class():
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    plain, named = (
        draw_samples([{"image": image, "label": 1}], names) for names in (["", ""], ["cat", "dog"])
    )
    assert plain.shape == named.shape and plain.shape[1] == SHEET_WIDTH
    assert (plain != named)[:28].any() and (plain == named)[28:].all()
