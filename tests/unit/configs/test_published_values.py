"""What the COCO configs take from the paper: sizes, recipes, and the results they quote."""

import pytest
import torch
from detectron2.config import instantiate

from bpt_det.engine import load_config
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def on_meta(cfg):
    cfg.model.backbone.net.vit.checkpoint = None
    with torch.device("meta"):
        return instantiate(cfg.model)


def test_the_published_detector_has_the_published_number_of_parameters():
    """method.md, section 6, in millions: frozen 85.8, pyramid 5.56, RPN 1.18, heads 48.53."""
    model = on_meta(load_config("configs/coco/cascade_bpt_s.py"))
    expected = {
        "backbone.net.prompted_vit.vit.": 85.80,
        "backbone.net.prompted_vit.prompts.": 0.09,
        "backbone.simfp_": 5.56,
        "proposal_generator.": 1.18,
        "roi_heads.": 48.53,
    }
    millions = {
        prefix: sum(p.numel() for n, p in model.named_parameters() if n.startswith(prefix)) / 1e6
        for prefix in expected
    }
    assert {prefix: round(count, 2) for prefix, count in millions.items()} == expected
    total = sum(parameter.numel() for parameter in model.parameters())
    assert sum(millions.values()) == pytest.approx(total / 1e6)


def test_the_published_recipe():
    """method.md, section 6, and the issue: what the COCO configs train with."""
    cfg = load_config("configs/coco/cascade_bpt_s.py")
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay) == (5e-4, 0.1)
    assert cfg.optimizer.params.weight_decay_norm == 0.0
    assert cfg.dataloader.train.total_batch_size == 16
    assert cfg.train.max_iter == 273_539
    assert list(cfg.lr_multiplier.milestones) == [27 / 37, 33 / 37]
    assert cfg.lr_multiplier.warmup_iters == 250
    assert cfg.dataloader.image_size == cfg.model.backbone.square_pad == 1024
    assert cfg.model.input_format == cfg.dataloader.train.mapper.image_format == "RGB"
    model = on_meta(cfg)
    assert len(model.proposal_generator.rpn_head.conv) == 2
    for head in model.roi_heads.box_head:
        assert [type(conv.norm).__name__ for conv in head.conv_norm_relus] == ["LayerNorm2d"] * 4


def test_the_published_recipe_of_full_fine_tuning():
    """method.md, section 6; the layer-wise decay is that of ViTDet-B."""
    cfg = load_config("configs/coco/cascade_full.py")
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay) == (1e-4, 0.1)
    assert cfg.model.backbone.net.vit.drop_path_rate == 0.1
    assert cfg.optimizer.params.layer_decay == 0.7
    assert cfg.train.max_iter == 273_539


PUBLISHED = {  # method.md, section 6: box AP, mask AP
    "mask_rcnn_frozen": ("30.70", "28.73"),
    "mask_rcnn_vpt_s": ("33.98", "31.68"),
    "mask_rcnn_vpt_d": ("34.62", "32.63"),
    "mask_rcnn_spt_s": ("36.46", "33.70"),
    "mask_rcnn_spt_d": ("37.85", "34.71"),
    "mask_rcnn_bpt_s": ("38.55", "35.35"),
    "mask_rcnn_bpt_d": ("39.67", "36.42"),
    "cascade_frozen": ("35.12", "31.29"),
    "cascade_vpt_s": ("36.78", "32.63"),
    "cascade_vpt_d": ("38.70", "34.27"),
    "cascade_spt_s": ("39.63", "36.78"),
    "cascade_spt_d": ("41.32", "37.53"),
    "cascade_bpt_s": ("43.01", "38.83"),
    "cascade_bpt_d": ("44.97", "39.69"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_header_carries_the_published_result_and_says_that_ours_is_not_measured(name):
    header = (ROOT / f"configs/coco/{name}.py").read_text().split('"""')[1]
    box, mask = PUBLISHED[name]
    assert f"Result: published {box} box AP, {mask} mask AP; ours: not measured yet" in header
