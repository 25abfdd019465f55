"""Faster inference: where it computes in less precision, and what comes out."""

import pytest
import torch

from bpt_det import Predictor
from bpt_det.inference.speed import speed_up
from bpt_det.shapes import render_image
from bpt_det.utils.errors import InputError

SHIPPED = ("shapes/cascade_bpt_s", "bpt_det:cascade_bpt_s_shapes.pth")
IMAGE = render_image(0, 0, split="val", image_size=128)[0]


def test_bfloat16_is_of_backbone_and_box_heads_and_finds_nearly_the_same():
    predictor = Predictor(*SHIPPED, device="cpu", precision="bfloat16")
    types = {}
    modules = {
        "vit": predictor.model.backbone.net.prompted_vit.vit.blocks[0].attn.qkv,
        "head": predictor.model.roi_heads.box_head[0].fc1,
        "scores": predictor.model.roi_heads.box_predictor[0].cls_score,
        "masks": predictor.model.roi_heads.mask_head.predictor,
    }
    for name, module in modules.items():
        module.register_forward_hook(lambda _, x, out, name=name: types.update({name: out.dtype}))
    found = predictor(IMAGE)
    assert types == {
        "vit": torch.bfloat16,
        "head": torch.bfloat16,
        "scores": torch.float32,
        "masks": torch.float32,
    }
    expected = Predictor(*SHIPPED, device="cpu")(IMAGE)
    assert found.scores.dtype == torch.float32
    assert (found.scores[0] - expected.scores[0]).abs() < 0.05
    assert (found.pred_boxes.tensor[0] - expected.pred_boxes.tensor[0]).abs().max() < 2


def test_fewer_proposals_reach_the_heads():
    predictor = Predictor(*SHIPPED, device="cpu", proposals=7)
    counts = []
    head = predictor.model.roi_heads.box_head[0]
    head.register_forward_hook(lambda _, x, out: counts.append(len(x[0])))
    assert len(predictor(IMAGE)) > 0 and counts == [7]


@pytest.mark.parametrize(
    ("count", "message"), [(0, "proposals must be an integer >= 1"), (5, "has no proposals")]
)
def test_what_has_no_proposals_or_none_at_all_is_refused(count, message):
    model = torch.nn.Linear(2, 3)
    with pytest.raises(InputError, match=message):
        speed_up(model, "float32", compile_backbone=False, proposals=count)


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="^precision must be auto or one of float32, bfloat16, f"):
        Predictor(*SHIPPED, device="cpu", precision="int4")
    with pytest.raises(InputError, match="a Linear has no backbone"):
        speed_up(torch.nn.Linear(2, 3), "bfloat16", compile_backbone=False)


def test_the_backbone_alone_is_compiled(monkeypatch):
    """By a compiler that counts its calls: the real one takes a minute."""
    calls = []

    def compile_(function):
        def run(*args):
            calls.append(len(args[0]))
            return function(*args)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    predictor = Predictor(*SHIPPED, device="cpu", compile_backbone=True)
    assert len(predictor([IMAGE, IMAGE])) == 2 and calls == [2]
