"""Simple feature pyramid against its written-out formula; paddings and refusals."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.solver.build import get_default_optimizer_params
from torch import nn

from bpt_det.detection import LayerNorm2d, PromptedViTBackbone, SimpleFeaturePyramid
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from tests.support.vits import tiny_vit

IN_CHANNELS, OUT_CHANNELS = 12, 5
STANDARD_SCALES = (4.0, 2.0, 1.0, 0.5)


class OneConvolution(Backbone):
    """A single-scale backbone of a given stride."""

    def __init__(self, stride=16):
        super().__init__()
        self.patch = nn.Conv2d(3, IN_CHANNELS, kernel_size=stride, stride=stride)
        self._out_features = ["last_feat"]
        self._out_feature_strides = {"last_feat": stride}
        self._out_feature_channels = {"last_feat": IN_CHANNELS}

    def forward(self, images):
        return {"last_feat": self.patch(images)}


def pyramid(scale_factors=STANDARD_SCALES, stride=16, net=None, **kwargs):
    """A pyramid in float64 whose norms are not at their initial values."""
    torch.manual_seed(0)
    kwargs = {"top_block": LastLevelMaxPool(), **kwargs}
    net = net or OneConvolution(stride)
    model = SimpleFeaturePyramid(net, "last_feat", OUT_CHANNELS, scale_factors, **kwargs).double()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model


def images_of(height, width):
    return torch.randn(2, 3, height, width, dtype=torch.float64)


def layer_norm(features, weight, bias):
    mean = features.mean(dim=1, keepdim=True)
    variance = (features - mean).square().mean(dim=1, keepdim=True)
    normalized = (features - mean) / (variance + 1e-6).sqrt()
    return normalized * weight[:, None, None] + bias[:, None, None]


def last_two_convolutions(features, state, stage, first):
    """The 1x1 and the 3x3 convolution at places ``first`` and ``first + 1`` of a stage."""
    for place, padding in ((first, 0), (first + 1, 1)):
        prefix = f"simfp_{stage}.{place}"
        features = F.conv2d(features, state[f"{prefix}.weight"], padding=padding)
        norm = state[f"{prefix}.norm.weight"], state[f"{prefix}.norm.bias"]
        features = layer_norm(features, *norm)
    return features


def deconvolve(features, state, name):
    return F.conv_transpose2d(features, state[f"{name}.weight"], state[f"{name}.bias"], stride=2)


def test_every_level_equals_its_written_out_formula():
    model = pyramid()
    state = model.state_dict()
    images = images_of(64, 96)
    features = model.net(images)["last_feat"]
    maps = model(images)
    assert list(maps) == ["p2", "p3", "p4", "p5", "p6"]

    finer = deconvolve(features, state, "simfp_2.0")
    finer = F.gelu(layer_norm(finer, state["simfp_2.1.weight"], state["simfp_2.1.bias"]))
    finer = deconvolve(finer, state, "simfp_2.3")
    expected = {
        "p2": last_two_convolutions(finer, state, stage=2, first=4),
        "p3": last_two_convolutions(
            deconvolve(features, state, "simfp_3.0"), state, stage=3, first=1
        ),
        "p4": last_two_convolutions(features, state, stage=4, first=0),
        "p5": last_two_convolutions(F.max_pool2d(features, 2), state, stage=5, first=1),
    }
    expected["p6"] = expected["p5"][:, :, ::2, ::2]
    for level, stride in zip(expected, (4, 8, 16, 32, 64), strict=True):
        size = (-(-64 // stride), -(-96 // stride))
        assert maps[level].shape == (2, OUT_CHANNELS, *size)
        torch.testing.assert_close(maps[level], expected[level])


def test_the_standard_pyramid_has_levels_p2_to_p6_of_strides_4_to_64():
    shapes = pyramid().output_shape()
    assert shapes == {
        f"p{level}": ShapeSpec(channels=OUT_CHANNELS, stride=2**level) for level in range(2, 7)
    }
    assert pyramid().size_divisibility == 32


def test_levels_are_named_by_their_strides_whatever_the_patch():
    """The micro model: patches of 8, no fourfold level."""
    model = pyramid((2.0, 1.0, 0.5), stride=8)
    assert {name: shape.stride for name, shape in model.output_shape().items()} == {
        "p2": 4,
        "p3": 8,
        "p4": 16,
        "p5": 32,
    }
    assert model.size_divisibility == 16
    sizes = {name: tuple(level.shape[2:]) for name, level in model(images_of(32, 48)).items()}
    assert sizes == {"p2": (8, 12), "p3": (4, 6), "p4": (2, 3), "p5": (1, 2)}


def test_without_a_top_block_the_levels_are_those_of_the_scale_factors():
    assert list(pyramid(top_block=None).output_shape()) == ["p2", "p3", "p4", "p5"]


def test_parameters_are_named_as_in_official_detectron2():
    def convolution(name):
        return [f"{name}.weight", f"{name}.norm.weight", f"{name}.norm.bias"]

    expected = [
        "simfp_2.0.weight",  # deconvolution
        "simfp_2.0.bias",
        "simfp_2.1.weight",  # LayerNorm; simfp_2.2 is GELU
        "simfp_2.1.bias",
        "simfp_2.3.weight",
        "simfp_2.3.bias",
        *convolution("simfp_2.4"),
        *convolution("simfp_2.5"),
        "simfp_3.0.weight",
        "simfp_3.0.bias",
        *convolution("simfp_3.1"),
        *convolution("simfp_3.2"),
        *convolution("simfp_4.0"),
        *convolution("simfp_4.1"),
        *convolution("simfp_5.1"),  # simfp_5.0 is the max pool
        *convolution("simfp_5.2"),
    ]
    names = [name for name, _ in pyramid().named_parameters() if not name.startswith("net.")]
    assert sorted(names) == sorted(expected)


@pytest.mark.parametrize("square_pad", [0, 128])
def test_equals_the_pyramid_of_official_detectron2(square_pad):
    pytest.importorskip("detectron2.modeling.backbone.vit", reason="Detectron2 0.6 has none")
    from detectron2.modeling.backbone.vit import SimpleFeaturePyramid as OfficialPyramid

    ours = pyramid(square_pad=square_pad)
    official = OfficialPyramid(
        OneConvolution(),
        "last_feat",
        OUT_CHANNELS,
        STANDARD_SCALES,
        top_block=LastLevelMaxPool(),
        square_pad=square_pad,
    ).double()
    official.load_state_dict(ours.state_dict())
    images = images_of(128, 128)
    for level, features in official(images).items():
        torch.testing.assert_close(ours(images)[level], features)
    assert ours.size_divisibility == official.padding_constraints["size_divisiblity"]
    assert ours.output_shape() == official.output_shape()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 64), (128, 128)])
def test_square_padding_equals_zeros_at_the_right_and_bottom(height, width):
    padded = pyramid(square_pad=128)
    images = images_of(height, width)
    square = torch.zeros(2, 3, 128, 128, dtype=torch.float64)
    square[:, :, :height, :width] = images
    expected = pyramid()(square)
    for level, features in padded(images).items():
        torch.testing.assert_close(features, expected[level])


def test_a_larger_image_is_not_padded_and_not_cut():
    model = pyramid(square_pad=64)
    images = images_of(96, 128)
    expected = pyramid()(images)
    for level, features in model(images).items():
        torch.testing.assert_close(features, expected[level])


def test_an_image_larger_on_one_side_is_padded_on_the_other_alone():
    model = pyramid(square_pad=64)
    assert model(images_of(96, 32))["p4"].shape == (2, OUT_CHANNELS, 6, 4)
    assert model.padded_size(96, 32) == (96, 64)


def test_the_padded_size_is_a_multiple_of_the_coarsest_stride_and_at_least_the_square():
    assert pyramid(square_pad=0).padded_size(33, 64) == (64, 64)
    assert pyramid(square_pad=128).padded_size(33, 129) == (128, 160)


@pytest.mark.parametrize("scale_factors", [(4.0, 1.0), (1.0, 2.0), (1.0, 1.0), (2.0, 3.0)])
def test_scale_factors_that_do_not_halve_are_refused(scale_factors):
    with pytest.raises(
        InputError, match=r"^scale_factors must halve at each step, got \("
    ) as caught:
        pyramid(scale_factors)
    assert str(scale_factors) in str(caught.value)


@pytest.mark.parametrize(("scale_factors", "bad"), [((8.0, 4.0), 8.0), ((0.5, 0.25), 0.25)])
def test_a_scale_factor_out_of_range_is_refused(scale_factors, bad):
    with pytest.raises(
        InputError, match=rf"^scale factors must be among 4, 2, 1 and 0\.5, got {bad}"
    ):
        pyramid(scale_factors)


def test_a_stride_that_is_no_power_of_two_is_refused():
    """Levels are named by the logarithm of their stride; patches of 14 have none."""
    text = r"^the stride of 'last_feat' must be a power of 2, got 14\.$"
    with pytest.raises(InputError, match=text):
        pyramid(stride=14)


def test_a_square_side_that_the_coarsest_level_does_not_divide_is_refused():
    with pytest.raises(
        InputError, match=r"^square_pad must be a multiple of 32, such as 96 or 128, got 112\.$"
    ):
        pyramid(square_pad=112)


def test_the_default_optimizer_groups_decay_prompts_and_no_norm():
    prompt = BilinearPrompt(prompt_length=7, rank=3, embed_dim=IN_CHANNELS)
    model = pyramid(net=PromptedViTBackbone(tiny_vit(), prompt), stride=4)
    groups = get_default_optimizer_params(
        model, base_lr=0.1, weight_decay=0.3, weight_decay_norm=0.0
    )
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(decay) == len(trained)
    norms = {
        f"{name}.{parameter}"
        for name, module in model.named_modules()
        if isinstance(module, LayerNorm2d)
        for parameter in ("weight", "bias")
    }
    assert len(norms) == 2 * 9
    assert {name for name, p in trained.items() if decay[id(p)] == 0.0} == norms
    prompts = [name for name in trained if "prompts" in name]
    assert len(prompts) == 2 and all(decay[id(trained[name])] == 0.3 for name in prompts)
