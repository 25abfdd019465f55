"""Our detector around the ViT against official Detectron2's ViTDet, which 0.6 does not have.

Source: facebookresearch/detectron2 main, detectron2/modeling/backbone/vit.py,
configs/common/models/mask_rcnn_vitdet.py and projects/ViTDet/configs/COCO. The pyramid's padding
differs by design: official Detectron2 pads a batch before the backbone (`padding_constraints`),
ours in the pyramid, so that 0.6 can; zeros at the right and bottom either way.
"""

import pytest
import torch
from detectron2.config import instantiate
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.structures import ImageList
from omegaconf import ListConfig
from torch import nn

from bpt_det.config import load_config
from bpt_det.detection import LayerNorm2d, SimpleFeaturePyramid
from tests.support.paths import ROOT
from tests.support.upstream import official_config, randomize

official = pytest.importorskip("detectron2.modeling.backbone.vit", reason="Detectron2 0.6 has none")


class OneConvolution(Backbone):
    """A single-scale backbone of stride 16."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 12, kernel_size=16, stride=16)
        self._out_features = ["last_feat"]
        self._out_feature_strides = {"last_feat": 16}
        self._out_feature_channels = {"last_feat": 12}

    def forward(self, images):
        return {"last_feat": self.patch(images)}


def pyramids(top_block=None, square_pad=0):
    """The official pyramid and ours, with the same weights."""
    arguments = ("last_feat", 5, (4.0, 2.0, 1.0, 0.5), top_block)
    theirs = official.SimpleFeaturePyramid(OneConvolution(), *arguments, square_pad=square_pad)
    theirs = randomize(theirs.double())
    ours = SimpleFeaturePyramid(OneConvolution(), *arguments, square_pad=square_pad).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("top_block", [None, LastLevelMaxPool()])
@pytest.mark.parametrize(("height", "width"), [(192, 192), (64, 160), (224, 96)])
def test_the_pyramids_compute_the_same(height, width, top_block):
    theirs, ours = pyramids(top_block)
    assert ours.output_shape() == theirs.output_shape()
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    expected, outputs = theirs(images), ours(images)
    assert list(outputs) == list(expected)
    for level, features in expected.items():
        torch.testing.assert_close(outputs[level], features)


@pytest.mark.parametrize("sizes", [[(100, 150)], [(100, 150), (192, 70)]])
def test_batches_are_padded_to_the_same_square(sizes):
    """Each as its own `GeneralizedRCNN` pads: ours by divisibility, then within the pyramid."""
    theirs, ours = pyramids(square_pad=192)
    images = [torch.randn(3, *size, dtype=torch.float64) for size in sizes]
    constraints = theirs.padding_constraints
    padded = ImageList.from_tensors(
        images, theirs.size_divisibility, padding_constraints=constraints
    )
    expected = theirs(padded.tensor)
    outputs = ours(ImageList.from_tensors(images, ours.size_divisibility).tensor)
    for level, features in expected.items():
        torch.testing.assert_close(outputs[level], features)


DETECTORS = {"cascade_mask_rcnn": "cascade", "mask_rcnn": "mask_rcnn"}


@pytest.fixture(params=DETECTORS)
def detectors(request, monkeypatch):
    """Our detector at full size and the official one; no memory is taken."""
    monkeypatch.chdir(ROOT)
    cfg = load_config(f"coco/{DETECTORS[request.param]}", ["method=bpt_s"])
    cfg.model.backbone.net.vit.checkpoint = None
    official_cfg = official_config(request.param)
    official_cfg.backbone.net.depth = 0  # its blocks cannot be built without memory
    with torch.device("meta"):
        return instantiate(cfg.model), instantiate(official_cfg)


def around_the_vit(names):
    return {name: value for name, value in names if not name.startswith("backbone.net")}


def test_parameters_around_the_vit_have_the_same_names_and_shapes(detectors):
    ours, theirs = (
        around_the_vit((n, tuple(v.shape)) for n, v in model.state_dict().items())
        for model in detectors
    )
    assert ours == theirs


def test_modules_around_the_vit_are_of_the_same_classes(detectors):
    """Only the norm and the pyramid are ours, since 0.6 lacks them; the others are imported."""
    ours, theirs = (around_the_vit(model.named_modules()) for model in detectors)
    replaced = {official.SimpleFeaturePyramid: SimpleFeaturePyramid}
    norm = type(theirs["backbone.simfp_4.0.norm"])
    replaced[norm] = LayerNorm2d
    assert norm.__name__ == "LayerNorm"
    assert ours.keys() == theirs.keys()
    for name, module in theirs.items():
        assert type(ours[name]) is replaced.get(type(module), type(module)), name


def settings_of(value):
    """What an object was built with, as plain data; modules are compared by themselves."""
    if isinstance(value, (int, float, str, type(None))):
        return value
    if isinstance(value, dict):
        return {key: settings_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, ListConfig)):
        return [settings_of(item) for item in value]
    if type(value).__module__.startswith("detectron2.modeling") and not isinstance(
        value, nn.Module
    ):
        return {"class": type(value).__name__, **settings_of(vars(value))}
    return type(value).__name__


def test_settings_around_the_vit_are_the_same(detectors):
    """Anchors, thresholds, samples, box weights, losses, epsilons and so on: everything."""
    ours, theirs = (around_the_vit(model.named_modules()) for model in detectors)
    own_attributes = vars(nn.Module()).keys()
    compared = {}
    for name in theirs.keys() - {"backbone"}:  # the pyramid is compared by what it computes
        for key in vars(theirs[name]).keys() - own_attributes:
            expected, actual = (settings_of(getattr(m[name], key)) for m in (theirs, ours))
            compared[f"{name}.{key}"] = expected, actual
    assert {key: pair for key, pair in compared.items() if pair[0] != pair[1]} == {}
    assert compared["proposal_generator.in_features"][1] == ["p2", "p3", "p4", "p5", "p6"]


@pytest.mark.parametrize("name", DETECTORS)
def test_anchors_and_the_mean_of_the_images_are_the_same(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    ours, theirs = load_config(f"coco/{DETECTORS[name]}").model, official_config(name)
    anchors, expected = (
        instantiate(model.proposal_generator.anchor_generator).cell_anchors
        for model in (ours, theirs)
    )
    for actual, published in zip(anchors, expected, strict=True):
        torch.testing.assert_close(actual, published)
    for key in ("pixel_mean", "pixel_std", "input_format"):
        assert ours[key] == theirs[key], key
