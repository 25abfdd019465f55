import torch
from torch import nn

from bpt_det.detection import LayerNorm2d


def test_equals_a_loop_over_positions():
    torch.manual_seed(0)
    norm = LayerNorm2d(5, eps=0.1).double()
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    features = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    expected = torch.empty_like(features)
    for image in range(2):
        for row in range(3):
            for column in range(4):
                values = features[image, :, row, column]
                variance = ((values - values.mean()) ** 2).mean()
                normalized = (values - values.mean()) / (variance + 0.1) ** 0.5
                expected[image, :, row, column] = normalized * norm.weight + norm.bias
    torch.testing.assert_close(norm(features), expected)


def test_has_the_parameters_and_eps_of_official_detectron2():
    norm = LayerNorm2d(5)
    assert {name: p.shape for name, p in norm.named_parameters()} == {"weight": (5,), "bias": (5,)}
    assert norm.eps == 1e-6
    assert torch.equal(norm.weight, torch.ones(5)) and torch.equal(norm.bias, torch.zeros(5))


def test_is_a_norm_to_detectron2():
    """Its optimizer groups and its counters go by this class."""
    assert isinstance(LayerNorm2d(5), nn.LayerNorm)


def test_an_image_without_regions_passes_through():
    """A RoI head may see no box at all."""
    assert LayerNorm2d(5)(torch.empty(0, 5, 7, 7)).shape == (0, 5, 7, 7)
