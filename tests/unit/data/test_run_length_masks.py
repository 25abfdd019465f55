"""Masks as run lengths: the pixels are those of the masks that they are made of."""

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.visualization.annotations import resize_mask


@pytest.fixture
def pixels():
    return torch.from_numpy(np.random.default_rng(0).random((5, 13, 17)) > 0.6)


def test_masks_are_those_they_are_made_of(pixels):
    masks = RunLengthMasks.from_pixels(pixels)
    assert len(masks) == 5 and torch.equal(masks.to_pixels(), pixels)
    assert masks.areas.tolist() == pixels.flatten(1).sum(dim=1).tolist()


@pytest.mark.parametrize(
    "item", [slice(1, 4), torch.tensor([3, 0]), torch.tensor([True, False, True, False, False])]
)
def test_indexed_as_a_tensor_is(pixels, item):
    masks = RunLengthMasks.from_pixels(pixels)
    assert torch.equal(torch.stack(list(masks[item])), pixels[item])


def test_instances_of_them_can_be_sorted_joined_and_moved(pixels):
    masks = RunLengthMasks.from_pixels(pixels)
    instances = Instances((13, 17), pred_masks=masks, scores=torch.arange(5.0))
    joined = Instances.cat([instances[instances.scores > 2], instances[0]]).to("cpu")
    assert torch.equal(torch.stack(list(joined.pred_masks)), pixels[[3, 4, 0]])


def test_union_and_intersections_are_those_of_the_pixels(pixels):
    masks = RunLengthMasks.from_pixels(pixels)
    assert torch.equal(RunLengthMasks([masks.union()])[0], pixels.any(dim=0))
    common = (pixels[:, None] & pixels[None, :3]).flatten(2).sum(dim=2)
    np.testing.assert_allclose(masks.intersections(masks[:3]), common.numpy(), rtol=1e-12)


@given(st.integers(0, 1100), st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_any_number_of_masks_is_measured_and_joined(number, seed):
    random = np.random.default_rng(seed)
    pixels = torch.from_numpy(random.random((number, 6, 5)) > random.random((number, 1, 1)))
    masks = RunLengthMasks.from_pixels(pixels)
    flat = pixels.flatten(1).double()
    assert masks.areas.tolist() == flat.sum(dim=1).tolist()
    assert [mask.shape for mask in masks.resized(3, 3)] == [(3, 3)] * number
    np.testing.assert_allclose(masks.intersections(masks), (flat @ flat.T).numpy(), atol=1e-9)
    if number:
        assert torch.equal(RunLengthMasks([masks.union()])[0], pixels.any(dim=0))


def test_none_at_all(pixels):
    masks = RunLengthMasks.from_pixels(pixels[:0])
    assert len(masks) == len(masks.areas) == len(masks.to_pixels()) == 0
    assert masks.intersections(RunLengthMasks.from_pixels(pixels)).shape == (0, 5)


@pytest.mark.parametrize("size", [(13, 17), (6, 5), (40, 3), (1, 1), (29, 31)])
def test_at_another_size_each_pixel_is_that_of_the_nearest(pixels, size):
    actual = list(RunLengthMasks.from_pixels(pixels).resized(*size))
    expected = [resize_mask(mask, *size) for mask in pixels.numpy()]
    np.testing.assert_array_equal(actual, expected)


def test_a_pixel_on_a_border_is_that_of_opencv():
    """12 / 34 and 1 / (34 / 12) differ in the last bit."""
    mask = np.random.default_rng(0).random((9, 12)) > 0.5
    (actual,) = RunLengthMasks.from_pixels(torch.from_numpy(mask[None])).resized(51, 34)
    np.testing.assert_array_equal(actual, resize_mask(mask, 51, 34))


def test_an_empty_mask_stays_empty_at_another_size():
    (mask,) = RunLengthMasks.from_pixels(torch.zeros(1, 8, 9, dtype=torch.bool)).resized(4, 4)
    assert mask.shape == (4, 4) and not mask.any()
