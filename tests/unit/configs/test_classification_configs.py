"""Every classification config: its recipe, what it trains and decays, that it loads and saves."""

from pathlib import Path

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.utils.events import EventStorage

from bpt_det.engine import load_config
from bpt_det.vit import PromptedViT, collect_statistics
from bpt_det.vit.statistics import save_statistics
from tests.support.detectors import TINY_VIT
from tests.support.paths import ROOT

FGVC = {path.stem: f"configs/fgvc/{path.name}" for path in (ROOT / "configs/fgvc").glob("*.py")}
IMAGENET = {
    path.stem: f"configs/imagenet/{path.name}" for path in (ROOT / "configs/imagenet").glob("*.py")
}
CROPS = [f"configs/shapes_crops/{p.name}" for p in (ROOT / "configs/shapes_crops").glob("*.py")]
LEAVES = sorted([*FGVC.values(), *IMAGENET.values(), *CROPS])
KEYS = {"data", "dataloader", "lr_multiplier", "model", "optimizer", "train"}
WIDTH_AND_DEPTH = {"vit_l": (1024, 24), "vit_h": (1280, 32), "vit_2b": (2560, 24)}


def expected_prompts(leaf):
    """Shapes of a block's prompt parameters and the blocks that have them, by a leaf's name."""
    name = Path(leaf).stem
    sizes = [size for key, size in WIDTH_AND_DEPTH.items() if key in name]
    width, depth = sizes[0] if sizes else (768, 12)
    parts = name.split("_")
    method = next((p for p in parts if p in ("bpt", "vpt", "spt", "fwhiten", "twhiten")), None)
    if method is None:
        return {}, range(0)
    is_deep = "d" in parts
    if "shapes_crops" in leaf:
        blocks = range(2, 6) if is_deep else range(1)
        length = 10 if is_deep else 20
        shapes = {
            "bpt": {"coeff": (length, 10), "basis": (10, 160)},
            "fwhiten": {"coeff": (length, 160), "basis": (160, 160)},
            "vpt": {"tokens": (length, 160)},
        }
        return shapes[method], blocks
    if method in ("vpt", "spt"):
        length, blocks = (20, range(depth)) if is_deep else (100, range(1))
        return {"tokens": (length, width)}, blocks
    length, blocks = (50, range(depth - 4, depth)) if is_deep else (100, range(1))
    if method == "bpt":
        rank = 50 if is_deep else 25 if "imagenet" in leaf or name == "cub_bpt_s_sup" else 75
        return {"coeff": (length, rank), "basis": (rank, width)}, blocks
    return {"coeff": (length, width), "basis": (width, width)}, blocks


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def on_meta(cfg):
    cfg.model.backbone.vit.checkpoint = None
    with torch.device("meta"):
        return instantiate(cfg.model)


def is_trained(leaf, name):
    if name.startswith("backbone.vit."):
        return Path(leaf).stem.split("_")[0] == "full" or leaf.endswith("_full.py")
    assert name.startswith(("backbone.prompts.", "head.")), name
    return not ("fwhiten" in leaf and name.endswith(".basis"))


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_parameter_is_trained_or_frozen_as_listed_and_decayed_by_one_rule(leaf):
    cfg = load_config(leaf)
    model = on_meta(cfg)
    cfg.optimizer.params.model = model
    decay = {}
    for group in instantiate(cfg.optimizer).param_groups:
        for parameter in group["params"]:
            assert parameter not in decay
            decay[parameter] = group["weight_decay"]
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == is_trained(leaf, name) == (parameter in decay), name
        if not parameter.requires_grad:
            continue
        is_token = name.endswith(("pos_embed", "cls_token"))
        if parameter.ndim <= 1 or is_token:
            assert decay[parameter] == 0.0, name
        elif name == "head.weight":
            assert decay[parameter] == cfg.optimizer.params.head_weight_decay
        else:
            assert decay[parameter] == cfg.optimizer.weight_decay, name
    shapes, blocks = expected_prompts(leaf)
    prompts = {n: tuple(p.shape) for n, p in model.backbone.prompts.named_parameters()}
    assert prompts == {f"{b}.{n}": shape for b in blocks for n, shape in shapes.items()}
    # Read after building: statistics are named where the prompts start from them
    assert bool(model.backbone.needed_statistics) == (model.backbone.statistics is not None)


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_saved_config_is_the_same_config_and_takes_overrides(leaf, tmp_path):
    cfg = load_config(leaf)
    assert set(cfg) == KEYS
    paths = [str(tmp_path / name) for name in ("config.yaml", "again.yaml")]
    LazyConfig.save(cfg, paths[0])
    LazyConfig.save(load_config(paths[0]), paths[1])
    assert Path(paths[0]).read_text() == Path(paths[1]).read_text()
    overrides = ["train.epochs=7", "model.backbone.placement=last_2", "data.name=folder:/birds"]
    again = load_config(paths[0], overrides)
    assert (again.train.epochs, again.dataloader.train.dataset.name) == (7, "folder:/birds")
    shapes, _ = expected_prompts(leaf)
    assert len(on_meta(again).backbone.prompts) == (2 if shapes else 0)
    assert not list(tmp_path.glob("*.pkl"))


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_is_short_and_its_header_names_the_command_that_runs_it(leaf):
    text = (ROOT / leaf).read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 40
    header = text.split('"""')[1]
    run = header.split("Run:    ")[1].splitlines()[0]
    assert f"python tools/train_cls.py --config-file {leaf}" in run
    before = f"Before: python tools/collect_statistics.py --config-file {leaf}\n"
    assert (before in header) == any(f"{way}_" in leaf for way in ("spt", "whiten"))
    result = "see README.md" if "shapes_crops" in leaf else "ours: not measured yet"
    assert "Data:   " in header and "Result: " in header and result in header
    assert load_config(leaf).train.output_dir == f"output/{leaf[8:-3]}"


@pytest.fixture(scope="module")
def statistics_files(tmp_path_factory):
    """Token statistics of every block of the shrunk ViT, by what they hold."""
    folder = tmp_path_factory.mktemp("statistics")

    def path_of(prompted, what):
        path = folder / f"{prompted.patch_size}_{what}.safetensors"
        if not path.exists():
            needed = dict.fromkeys(range(len(prompted.vit.blocks)), what)
            images = torch.randn(20, 3, 64, 64)
            save_statistics(collect_statistics(prompted.vit, [images], needed), path)
        return str(path)

    return path_of


METHODS = ("linear", "full", "bpt_s", "bpt_d", "vpt_d", "spt_s", "fwhiten_d", "twhiten_s")
STEPPED = [FGVC[f"cub_{m}"] for m in (*METHODS, "bpt_s_sup")] + [FGVC["dogs_bpt_d_moco"]]


@pytest.mark.parametrize("leaf", STEPPED)
def test_frozen_weights_are_bit_equal_after_a_step_and_trained_ones_move(leaf, statistics_files):
    cfg = load_config(leaf)
    vit = cfg.model.backbone.vit
    vit.update(TINY_VIT, pretrain_size=64, drop_path_rate=0.0)
    if cfg.model.backbone.prompt is not None:
        cfg.model.backbone.prompt.prompt_length = 5
        if "rank" in cfg.model.backbone.prompt:
            cfg.model.backbone.prompt.rank = 3
    model = instantiate(cfg.model).train()
    prompted = next(m for m in model.modules() if isinstance(m, PromptedViT))
    for what in set(prompted.needed_statistics.values()):
        prompted.statistics = statistics_files(prompted, what)
        prompted.initialize_prompts(seed=0)
    before = {name: value.clone() for name, value in model.named_parameters()}
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = [{"image": image, "label": label} for label, image in enumerate(images)]
    with EventStorage():
        for _ in range(2):
            optimizer.zero_grad()
            model(batch)["loss_ce"].backward()
            optimizer.step()
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) == (not is_trained(leaf, name)), name
