"""Variants: what each of them trains, with a ViT of the same sizes."""

import pytest
import torch
from detectron2.config import instantiate

from bpt_det.benchmark.variant_table import DETECTRON2_VITDET, VARIANTS
from bpt_det.benchmark.variants import (
    BARE,
    build_bare_vit,
    build_detector,
)
from bpt_det.config import load_config
from bpt_det.utils.compat import has_detectron2_vitdet
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from tests.support.detectors import ROOT, shrink
from tests.support.vits import tiny_vit


@pytest.fixture
def cfg():
    return shrink(load_config(str(ROOT / "configs/coco/cascade_bpt_s.py")))


@pytest.mark.parametrize("name", ["bpt_s", "bpt_d"])
def test_sizes_and_placement_are_those_of_the_method(name):
    net = load_config("coco/cascade", [f"method={name}"]).model.backbone.net
    variant = VARIANTS[name]
    assert variant.prompt_length == net.prompt.prompt_length == net.prompt.rank
    assert variant.settings.get("placement", "shallow") == net.placement


@pytest.mark.parametrize("name", ["lora", "adaptformer", "ssf", "bitfit", "partial_1"])
def test_tuning_is_that_of_the_method(name, cfg):
    net = load_config("coco/cascade", [f"method={name}"]).model.backbone.net
    tuning = VARIANTS[name].settings["tuning"]
    counts = [
        sum(
            p.numel()
            for p in PromptedViT(tiny_vit(), tuning=instantiate(node)).parameters()
            if p.requires_grad
        )
        for node in (tuning, net.tuning)
    ]
    assert counts[0] == counts[1] > 0 and VARIANTS[name].prompt_length == 0


def trained(net) -> set[str]:
    names = {name for name, p in net.named_parameters() if p.requires_grad}
    return {name.removeprefix("prompted_vit.") for name in names}


def test_the_config_is_measured_with_its_own_prompts(cfg):
    cfg.model.backbone.net.prompt.update(prompt_length=7, rank=3)
    cfg.model.backbone.net.vit.checkpoint = "missing.pth"
    net = build_detector(cfg, "config").backbone.net
    assert trained(net) == {"prompts.0.coeff", "prompts.0.basis"}
    assert net.prompted_vit.prompts["0"].coeff.shape == (7, 3)


def test_what_is_trained_of_a_backbone(cfg):
    nets = {
        name: build_detector(cfg, name).backbone.net
        for name in VARIANTS
        if name not in (BARE, DETECTRON2_VITDET)
    }
    assert trained(nets["frozen"]) == set()
    assert trained(nets["bpt_s"]) == {"prompts.0.coeff", "prompts.0.basis"}
    assert trained(nets["bpt_s_checkpointed"]) == trained(nets["bpt_s"])
    assert trained(nets["bpt_d"]) == {
        f"prompts.{block}.{part}" for block in (1, 2, 3, 4) for part in ("coeff", "basis")
    }
    assert trained(nets["bpt_d_layers"]) - trained(nets["bpt_d"]) == {
        "neck.join.proj.weight",
        "neck.join.proj.bias",
        *(f"neck.join.norms.{i}.{part}" for i in range(4) for part in ("weight", "bias")),
    }
    assert len(trained(nets["bpt_d_neck"]) - trained(nets["bpt_d"])) == 2 * 12
    assert len(trained(nets["partial_1"])) == 12
    whole = {name for name, _ in nets["full"].prompted_vit.named_parameters()}
    assert whole - trained(nets["full"]) == {"vit.norm.weight", "vit.norm.bias"}
    assert trained(nets["vitdet_b"]) == {n for n, _ in nets["vitdet_b"].named_parameters()}


def test_the_bare_vit_has_as_many_tokens_as_the_prompted(cfg):
    images = torch.zeros(2, 3, 64, 64)
    prompted = build_detector(cfg, "bpt_s").backbone.net.prompted_vit
    shape = build_bare_vit(cfg)(images)["tokens"].shape
    assert shape == prompted.forward_tokens(images).shape == (2, 1 + 100 + 16, 32)


def test_a_config_is_left_as_it_was(cfg):
    before = str(cfg)
    build_detector(cfg, "vitdet_b")
    assert str(cfg) == before


@pytest.mark.skipif(has_detectron2_vitdet(), reason="this Detectron2 has ViTDet")
def test_without_detectron2_s_vitdet_it_is_refused(cfg):
    with pytest.raises(InputError, match="has no detectron2.modeling.backbone.vit; its main has"):
        build_detector(cfg, DETECTRON2_VITDET)


def test_a_model_without_vit_is_refused(cfg):
    del cfg.model.backbone.net["vit"]
    with pytest.raises(InputError, match="the config has no model.backbone.net.vit"):
        build_detector(cfg, "bpt_s")
