"""RoI pooling on the CPU: against torchvision's kernel, and where it is left to Detectron2."""

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from bpt_det.detection import EmbeddingBagROIPooler

NAN, INF = float("nan"), float("inf")
SETTINGS = {
    "output_size": 7,  # Detectron2 takes squares alone
    "scales": [1 / 4, 1 / 8, 1 / 16],
    "sampling_ratio": 0,
    "pooler_type": "ROIAlignV2",
    "canonical_box_size": 32,
    "canonical_level": 3,
}


def maps(dtype=torch.float64):
    torch.manual_seed(0)
    sizes = [(24, 32), (12, 16), (6, 8)]
    return [torch.randn(2, 6, *size, dtype=dtype, requires_grad=True) for size in sizes]


def boxes(number, seed=1):
    """Return boxes of 1 to 150 pixels inside of images of 96 x 128 pixels, some of no area."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(number, 2, generator=generator) * torch.tensor([128.0, 96.0])
    size = torch.exp(torch.rand(number, 2, generator=generator) * 5)
    corners = Boxes(torch.cat([center - size / 2, center + size / 2], 1))
    corners.clip((96, 128))
    return corners


def assert_equal_with_gradients(x, box_lists, tolerance=1e-12, **settings):
    expected = ROIPooler(**{**SETTINGS, **settings})(x, box_lists)
    actual = EmbeddingBagROIPooler(**{**SETTINGS, **settings})(x, box_lists)
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)
    weights = torch.randn_like(expected)
    for got, wanted in zip(
        torch.autograd.grad(actual, x, weights, allow_unused=True),
        torch.autograd.grad(expected, x, weights, allow_unused=True),
        strict=True,
    ):
        wanted = torch.zeros_like(got) if wanted is None else wanted
        torch.testing.assert_close(got, wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("sampling_ratio", [0, 1])
@pytest.mark.parametrize("numbers", [(40, 70), (0, 9), (3, 0)])
def test_regions_and_gradients_equal_those_of_detectron2(sampling_ratio, numbers):
    lists = [boxes(number, seed).to("cpu") for seed, number in enumerate(numbers)]
    lists = [Boxes(one.tensor.double()) for one in lists]
    assert_equal_with_gradients(maps(), lists, sampling_ratio=sampling_ratio)


def test_one_level_equals_detectron2():
    one_level = [maps()[1]]
    lists = [Boxes(boxes(8, seed).tensor.double()) for seed in (1, 2)]
    assert_equal_with_gradients(one_level, lists, scales=[1 / 8], output_size=14)


@pytest.mark.parametrize(
    "box",
    [
        [8.0, 8.0, 8.0, 40.0],  # no width
        [40.0, 8.0, 24.0, 30.0],  # corners exchanged
        [2.0, 2.0, 30.0, 30.0],  # samples on the corners of cells
        [0.0, 0.0, 128.0, 96.0],
        [-60.0, -60.0, 200.0, 10.0],  # not clipped
        [100.0, 90.0, 400.0, 500.0],
        [300.0, 300.0, 400.0, 400.0],  # outside
        [0.0, 47.0, 128.0, 47.5],  # thin
    ],
)
@pytest.mark.parametrize("sampling_ratio", [0, 1])
def test_an_unusual_box_is_pooled_as_by_detectron2(box, sampling_ratio):
    lists = [boxes(3), Boxes(torch.tensor([box]))]
    lists = [Boxes(one.tensor.double()) for one in lists]
    assert_equal_with_gradients(maps(), lists, sampling_ratio=sampling_ratio)


@pytest.mark.parametrize("bad", [[NAN] * 4, [0.0, 0.0, INF, 9.0], [-INF, 0.0, INF, 9.0]])
def test_a_box_that_is_not_finite_is_zero_and_harms_no_other(bad):
    pooler, x = EmbeddingBagROIPooler(**SETTINGS), maps()
    with_bad = [boxes(3), Boxes(torch.tensor([bad, [4.0, 4.0, 60.0, 50.0]]))]
    without = [boxes(3), Boxes(torch.tensor([[4.0, 4.0, 60.0, 50.0]]))]
    actual, expected = pooler(x, with_bad), pooler(x, without)
    assert not actual[3].any()
    torch.testing.assert_close(actual[[0, 1, 2, 4]], expected, atol=0, rtol=0)


def test_bfloat16_maps_are_summed_in_float32():
    lists = [boxes(20), boxes(9, 2)]
    x = maps(torch.bfloat16)
    actual = EmbeddingBagROIPooler(**SETTINGS)(x, lists)
    expected = ROIPooler(**SETTINGS)([level.float() for level in x], lists)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual, expected.bfloat16(), atol=1e-2, rtol=1e-2)
    actual.sum().backward()
    assert all(level.grad is not None for level in x)


def test_without_regions_the_result_is_empty():
    pooled = EmbeddingBagROIPooler(**SETTINGS)(maps(), [boxes(0), boxes(0)])
    assert pooled.shape == (0, 6, 7, 7)


@pytest.mark.parametrize(
    "settings",
    [{"sampling_ratio": 2}, {"pooler_type": "ROIAlign"}, {"pooler_type": "ROIPool"}],
)
def test_other_settings_are_left_to_detectron2(settings):
    lists = [boxes(20), boxes(9, 2)]
    x = maps(torch.float32)
    actual = EmbeddingBagROIPooler(**{**SETTINGS, **settings})(x, lists)
    expected = ROIPooler(**{**SETTINGS, **settings})(x, lists)
    torch.testing.assert_close(actual, expected, atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_trace_holds_the_operator_of_detectron2():
    """So that ONNX has RoiAlign, and no number of samples is a constant of the example."""

    class Pool(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pooler = EmbeddingBagROIPooler(**SETTINGS)

        def forward(self, first, second, third, corners):
            return self.pooler([first, second, third], [Boxes(corners)])

    x = [level[:1].float().detach() for level in maps()]
    traced = torch.jit.trace(Pool(), (*x, boxes(5).tensor), check_trace=False)
    assert "roi_align" in str(traced.inlined_graph)
    assert "embedding_bag" not in str(traced.inlined_graph)
