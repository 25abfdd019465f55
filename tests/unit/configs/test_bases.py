"""Every base and named config: its keys, all that it composes with, and that it is saved."""

from pathlib import Path

import pytest
import torch
from detectron2.config import LazyConfig, instantiate

from bpt_det.config import load_config
from bpt_det.config.files import config_folder, find_bases, find_methods
from bpt_det.config.tree import find_vit_owner
from tests.support.paths import ROOT

pytestmark = pytest.mark.heavy

BASES = find_bases()
KEYS = {"data", "dataloader", "lr_multiplier", "model", "optimizer", "train"}
NAMED = ("bpt_d", "bpt_s", "frozen", "spt_d", "spt_s", "vpt_d", "vpt_s")


def assert_saved_is_the_same(cfg, tmp_path):
    paths = [str(tmp_path / name) for name in ("config.yaml", "again.yaml")]
    LazyConfig.save(cfg, paths[0])
    LazyConfig.save(load_config(paths[0]), paths[1])
    assert Path(paths[0]).read_text() == Path(paths[1]).read_text()
    assert not list(tmp_path.glob("*.pkl"))


def test_the_bases_are_found():
    assert set(BASES) == {
        *("coco/cascade", "coco/mask_rcnn", "custom/cascade", "lvis/cascade", "imagenet"),
        *("shapes/cascade", "shapes/crops"),
        *(f"fgvc/{name}" for name in ("cub", "nabirds", "flowers", "dogs", "cars")),
    }
    assert BASES["imagenet"]["vit"] == ["vit_b", "vit_l", "vit_h", "vit_2b"]
    assert BASES["fgvc/cars"]["pretraining"] == ["mae", "supervised"]


# The others have the choices of one of these.
@pytest.mark.parametrize(
    "base", ["coco/cascade", "shapes/cascade", "shapes/crops", "fgvc/cub", "imagenet"]
)
def test_a_base_composes_with_every_value_of_every_choice(base):
    """With every method, and with every other choice beside a shallow, a deep and no prompt."""
    folders, statistics = set(), {}
    choices = BASES[base]
    others = [f"{key}={value}" for key in choices if key != "method" for value in choices[key][1:]]
    combinations = [[f"method={method}"] for method in choices["method"]]
    combinations += [
        [f"method={m}", other] for m in ("fwhiten_s", "bpt_d", "full") for other in others
    ]
    for chosen in combinations:
        cfg = load_config(base, chosen)
        assert set(cfg) == KEYS
        values = "_".join(choice.partition("=")[2] for choice in chosen)
        assert cfg.train.output_dir == f"output/{base}_{values}"
        folders.add(cfg.train.output_dir)
        statistics[values] = cfg.train.prompt_statistics
    assert len(folders) == len(combinations)
    assert (
        statistics["fwhiten_s"]
        == statistics["twhiten_s"]
        == f"statistics/{base}_whiten_s.safetensors"
    )
    assert [statistics[name] for name in ("frozen", "full", "bpt_s", "vpt_d")] == [None] * 4


@pytest.mark.parametrize("base", BASES)
def test_a_saved_composition_is_the_same_config_and_takes_overrides(base, tmp_path):
    cfg = load_config(base, ["method=spt_d"])
    assert_saved_is_the_same(cfg, tmp_path)
    owner, _ = find_vit_owner(cfg)
    overrides = ["train.seed=11", f"{owner}.placement=last_2", f"{owner}.prompt.init=max_pool"]
    again = load_config(str(tmp_path / "config.yaml"), overrides)
    node = find_vit_owner(again)[1]
    assert (again.train.seed, node.placement, node.prompt.init) == (11, "last_2", "max_pool")


@pytest.mark.parametrize("name", [*NAMED, "vitdet_b"])
def test_a_named_config_is_complete_for_detectron2_alone(name, tmp_path):
    cfg = LazyConfig.load(str(ROOT / f"configs/coco/cascade_{name}.py"))
    assert set(cfg) == KEYS
    assert cfg.train.output_dir == f"output/coco/cascade_{name}"
    assert_saved_is_the_same(cfg, tmp_path)


@pytest.mark.parametrize("name", [*(f"coco/cascade {n}" for n in NAMED), "shapes/cascade bpt_s"])
def test_a_named_config_is_its_base_with_its_method(name):
    base, method = name.split()
    assert load_config(f"{base}_{method}") == load_config(base, [f"method={method}"])


def test_a_method_says_what_tables_need():
    for name, path in find_methods(config_folder()).items():
        method = LazyConfig.load(str(path)).method
        assert set(method) == {"label", "about", "settings", "statistics"}, name


def test_the_frozen_dinov3_detector_is_what_its_page_says():
    """Counts of docs/reproduction/frozen_backbones.md, and what differs from BPT-D on MAE."""
    cfg, base = (load_config(f"coco/{name}") for name in ("frozen_50", "cascade_bpt_d"))
    net = cfg.model.backbone.net
    assert (net.layers, net.join, net.neck_blocks, net.frozen) == ([2, 5, 8, 11], "concat", 2, True)
    assert (net.prompt, net.placement) == (base.model.backbone.net.prompt, "last_4")
    assert cfg.train.max_iter == base.train.max_iter
    assert cfg.dataloader.train == base.dataloader.train
    net.vit.checkpoint = None
    with torch.device("meta"):
        model = instantiate(cfg.model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 71_977_518
    named = model.backbone.named_parameters()
    trained = {name: p.numel() for name, p in named if p.requires_grad}
    of_neck = sum(n for name, n in trained.items() if name.startswith("net.neck."))
    of_prompts = sum(n for name, n in trained.items() if "prompts" in name)
    of_join, of_block = 4 * 2 * 768 + 4 * 768**2 + 768, 12 * 768**2 + 13 * 768
    assert (of_prompts, of_neck) == (163_600, of_join + 2 * of_block)
