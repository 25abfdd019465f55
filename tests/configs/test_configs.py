"""Every config in the tree: it loads, saves, takes overrides, builds, and trains what it should."""

from pathlib import Path

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.utils.events import EventStorage
from tiny import shrink, use_shapes

import bpt_det.detection.datasets  # noqa: F401  registers the data sets
from bpt_det.engine import load_config

ROOT = Path(__file__).resolve().parent.parent.parent
LEAVES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").rglob("*.py")
    if "common" not in path.relative_to(ROOT).parts
)

# Every parameter of a detector starts with one of these; the right column says if it is trained.
PARTITION = {
    "backbone.net.prompted_vit.vit.": False,
    "backbone.net.prompted_vit.prompts.": True,
    "backbone.simfp_": True,
    "proposal_generator.": True,
    "roi_heads.": True,
}
# name: (placement's blocks, parameters of each prompt) at ViT-B or the micro ViT.
PROMPTS = {
    "configs/coco/cascade_bpt_s.py": ([0], {"coeff": (100, 100), "basis": (100, 768)}),
    "configs/coco/cascade_bpt_d.py": ([8, 9, 10, 11], {"coeff": (50, 50), "basis": (50, 768)}),
    "configs/coco/cascade_vpt_s.py": ([0], {"tokens": (100, 768)}),
    "configs/coco/overfit_micro.py": ([0], {"coeff": (20, 10), "basis": (10, 160)}),
    "configs/shapes/cascade_bpt_s.py": ([0], {"coeff": (20, 10), "basis": (10, 160)}),
}


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def on_meta(cfg):
    cfg.model.backbone.net.vit.checkpoint = None
    with torch.device("meta"):
        return instantiate(cfg.model)


def trained_kind(name):
    kinds = [trained for prefix, trained in PARTITION.items() if name.startswith(prefix)]
    assert len(kinds) == 1, f"{name} is in no row of PARTITION, or in several"
    return kinds[0]


def test_every_leaf_states_its_prompts_here():
    assert set(LEAVES) == set(PROMPTS)


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_parameter_is_trained_or_frozen_as_listed(leaf):
    model = on_meta(load_config(leaf))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == trained_kind(name), name
    blocks, shapes = PROMPTS[leaf]
    prefix = "backbone.net.prompted_vit.prompts."
    prompts = {
        name.removeprefix(prefix): tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if name.startswith(prefix)
    }
    assert prompts == {f"{b}.{name}": shape for b in blocks for name, shape in shapes.items()}


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_saved_config_is_the_same_config(leaf, tmp_path):
    cfg = load_config(leaf)
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    again = load_config(str(tmp_path / "config.yaml"))
    shapes = [{n: p.shape for n, p in on_meta(c).named_parameters()} for c in (cfg, again)]
    assert shapes[0] == shapes[1]
    assert (again.train, again.optimizer.lr) == (cfg.train, cfg.optimizer.lr)
    assert not list(tmp_path.glob("*.pkl"))


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_takes_overrides(leaf):
    cfg = load_config(leaf, ["train.max_iter=11", "model.backbone.net.placement=last_2"])
    assert cfg.train.max_iter == 11
    assert len(on_meta(cfg).backbone.net.prompted_vit.prompts) == 2


@pytest.mark.parametrize("leaf", LEAVES)
def test_frozen_weights_are_bit_equal_after_a_step_and_trained_ones_move(leaf, shapes_root):
    cfg = use_shapes(shrink(load_config(leaf)), shapes_root)
    cfg.dataloader.train.dataset.pop("image_ids", None)
    model = instantiate(cfg.model).train()
    before = {name: value.clone() for name, value in model.named_parameters()}
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
    batches = iter(instantiate(cfg.dataloader.train))
    with EventStorage(0):
        for _ in range(2):
            optimizer.zero_grad()
            sum(model(next(batches)).values()).backward()
            optimizer.step()
    for name, value in model.named_parameters():
        if trained_kind(name):
            assert not torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_is_short_and_says_how_to_run_it(leaf):
    text = (ROOT / leaf).read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 40
    header = text.split('"""')[1]
    assert "Run:    " in header and "Data:   " in header


def test_the_published_detector_has_the_published_number_of_parameters():
    """method.md, section 6, in millions: frozen 85.8, pyramid 5.56, RPN 1.18, heads 48.53."""
    model = on_meta(load_config("configs/coco/cascade_bpt_s.py"))
    millions = {prefix: 0.0 for prefix in PARTITION}
    for name, parameter in model.named_parameters():
        prefix = next(p for p in PARTITION if name.startswith(p))
        millions[prefix] += parameter.numel() / 1e6
    assert {prefix: round(count, 2) for prefix, count in millions.items()} == {
        "backbone.net.prompted_vit.vit.": 85.80,
        "backbone.net.prompted_vit.prompts.": 0.09,
        "backbone.simfp_": 5.56,
        "proposal_generator.": 1.18,
        "roi_heads.": 48.53,
    }


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


@pytest.mark.parametrize("leaf", LEAVES)
def test_norms_are_not_decayed_and_everything_else_that_is_trained_is(leaf):
    cfg = load_config(leaf)
    model = on_meta(cfg)
    cfg.optimizer.params.model = model
    decay = {
        parameter: group["weight_decay"]
        for group in instantiate(cfg.optimizer).param_groups
        for parameter in group["params"]
    }
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    of_norms = {id(p) for norm in norms for p in norm.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert decay[parameter] == (0.0 if id(parameter) in of_norms else 0.1), name
        else:
            assert parameter not in decay, name
