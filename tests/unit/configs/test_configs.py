"""Every config of a detector: it loads, saves, takes overrides, builds, trains what it should."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.utils.events import EventStorage

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.engine import load_config
from bpt_det.vit import PromptedViT, collect_statistics
from bpt_det.vit.statistics import save_statistics
from tests.support.detectors import DETECTION_LEAVES, TINY_VIT, shrink, use_shapes
from tests.support.paths import ROOT

# Every parameter of a detector starts with one of these; the right column says if it is trained.
VIT, PROMPT = "backbone.net.prompted_vit.vit.", "backbone.net.prompted_vit.prompts."
PARTITION = {
    VIT: False,
    PROMPT: True,
    "backbone.simfp_": True,
    "proposal_generator.": True,
    "roi_heads.": True,
}
FULL = {"configs/coco/cascade_full.py", "configs/shapes/cascade_full.py"}  # train the ViT too
UNUSED = (f"{VIT}norm.",)  # the final norm, not applied before a pyramid: never trained
VITDET = "configs/coco/cascade_vitdet_b.py"  # has a ViT of another kind, trained as a whole
KEYS = {"data", "dataloader", "lr_multiplier", "model", "optimizer", "train"}


class Prompts(NamedTuple):
    """Shapes of a block's prompt parameters, the blocks that have them, and what is not trained."""

    shapes: dict[str, tuple[int, int]]
    blocks: Sequence[int]
    fixed: Sequence[str] = ()


def expected_prompts(width, num_blocks, sizes):
    """One row a kind of prompt: at the width and depth of a ViT, with (P, R) shallow and deep."""
    (p_s, r_s), (p_d, r_d), p_all = sizes
    last, every = range(num_blocks - 4, num_blocks), range(num_blocks)

    def bilinear(length, rank):
        return {"coeff": (length, rank), "basis": (rank, width)}

    def whitened(length):
        return {"coeff": (length, width), "basis": (width, width)}

    released = [f"{block}.basis" for block in range(num_blocks - 4)]
    return {
        "frozen": Prompts({}, []),
        "full": Prompts({}, []),
        "bpt_s": Prompts(bilinear(p_s, r_s), [0]),
        "bpt_d": Prompts(bilinear(p_d, r_d), last),
        "bpt_d_released": Prompts(bilinear(p_d, r_d), every, released),
        "fwhiten_s": Prompts(whitened(p_s), [0], ["0.basis"]),
        "fwhiten_d": Prompts(whitened(p_d), last, [f"{block}.basis" for block in last]),
        "twhiten_s": Prompts(whitened(p_s), [0]),
        "twhiten_d": Prompts(whitened(p_d), last),
        "vpt_s": Prompts({"tokens": (p_s, width)}, [0]),
        "vpt_d": Prompts({"tokens": (p_all, width)}, every),
        "spt_s": Prompts({"tokens": (p_s, width)}, [0]),
        "spt_d": Prompts({"tokens": (p_all, width)}, every),
    }


COCO_SIZES = (100, 100), (50, 50), 20
COCO = expected_prompts(768, 12, COCO_SIZES)
SHAPES = expected_prompts(160, 6, ((20, 10), (10, 10), 5))
CASCADE_ONLY = ("full", "bpt_d_released")
PROMPTS = {
    **{f"configs/coco/cascade_{kind}.py": row for kind, row in COCO.items()},
    **{f"configs/coco/mask_rcnn_{k}.py": row for k, row in COCO.items() if k not in CASCADE_ONLY},
    **{f"configs/shapes/cascade_{kind}.py": row for kind, row in SHAPES.items()},
    **{
        f"configs/coco/cascade_bpt_{way}_vit_{size}.py": expected_prompts(*sizes, COCO_SIZES)[
            f"bpt_{way}"
        ]
        for size, sizes in {"l": (1024, 24), "h": (1280, 32)}.items()
        for way in "sd"
    },
    "configs/coco/overfit_micro.py": SHAPES["bpt_s"],
    "configs/coco/cascade_vitdet_b.py": COCO["frozen"],
}


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def on_meta(cfg):
    cfg.model.backbone.net.vit.checkpoint = None
    with torch.device("meta"):
        return instantiate(cfg.model)


def is_trained(leaf, name):
    """What the tables say of a parameter; it must be in exactly one row."""
    if leaf == VITDET and name.startswith("backbone.net."):
        return True
    kinds = [trained for prefix, trained in PARTITION.items() if name.startswith(prefix)]
    assert len(kinds) == 1, f"{name} is in no row of PARTITION, or in several"
    if name.startswith(VIT):
        return leaf in FULL and not name.startswith(UNUSED)
    return kinds[0] and name.removeprefix(PROMPT) not in PROMPTS[leaf].fixed


def test_every_leaf_states_its_prompts_here():
    assert set(DETECTION_LEAVES) == set(PROMPTS)


@pytest.mark.parametrize("leaf", DETECTION_LEAVES)
def test_every_parameter_is_trained_or_frozen_as_listed(leaf):
    model = on_meta(load_config(leaf))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == is_trained(leaf, name), name
    prompts = {
        name.removeprefix(PROMPT): tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if name.startswith(PROMPT)
    }
    row = PROMPTS[leaf]
    assert prompts == {
        f"{b}.{name}": shape for b in row.blocks for name, shape in row.shapes.items()
    }


@pytest.mark.parametrize("leaf", DETECTION_LEAVES)
def test_a_saved_config_is_the_same_config(leaf, tmp_path):
    cfg = load_config(leaf)
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    again = load_config(str(tmp_path / "config.yaml"))
    shapes = [{n: p.shape for n, p in on_meta(c).named_parameters()} for c in (cfg, again)]
    assert shapes[0] == shapes[1]
    assert (again.train, again.optimizer.lr) == (cfg.train, cfg.optimizer.lr)
    assert not list(tmp_path.glob("*.pkl"))


@pytest.mark.parametrize("leaf", DETECTION_LEAVES)
def test_a_leaf_has_the_keys_of_a_config_and_no_others(leaf):
    assert set(load_config(leaf)) == KEYS


@pytest.mark.parametrize("leaf", [leaf for leaf in DETECTION_LEAVES if leaf != VITDET])
def test_a_leaf_takes_overrides(leaf):
    cfg = load_config(leaf, ["train.max_iter=11", "model.backbone.net.placement=last_2"])
    assert cfg.train.max_iter == 11
    assert len(on_meta(cfg).backbone.net.prompted_vit.prompts) == (2 if PROMPTS[leaf].blocks else 0)


@pytest.fixture(scope="module")
def statistics_files(tmp_path_factory):
    """Token statistics of every block of a shrunk ViT, by patch size and by what they hold."""
    folder = tmp_path_factory.mktemp("statistics")
    images = torch.randn(20, 3, 64, 64)

    def path_of(prompted, what):
        path = folder / f"{prompted.patch_size}_{what}.safetensors"
        if not path.exists():
            needed = dict.fromkeys(range(len(prompted.vit.blocks)), what)
            save_statistics(collect_statistics(prompted.vit, [images], needed), path)
        return str(path)

    return path_of


@pytest.mark.parametrize("leaf", DETECTION_LEAVES)
def test_frozen_weights_are_bit_equal_after_a_step_and_trained_ones_move(
    leaf, shapes_root, statistics_files
):
    cfg = use_shapes(shrink(load_config(leaf)), shapes_root)
    cfg.dataloader.train.dataset.pop("image_ids", None)
    model = instantiate(cfg.model).train()
    for prompted in (m for m in model.modules() if isinstance(m, PromptedViT)):
        assert bool(prompted.needed_statistics) == (prompted.statistics is not None)
        for what in set(prompted.needed_statistics.values()):
            prompted.statistics = statistics_files(prompted, what)
            prompted.initialize_prompts(seed=0)
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
        if is_trained_when_shrunk(leaf, name):
            assert not torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, before[name]), name


def is_trained_when_shrunk(leaf, name):
    """As listed, in a ViT of fewer blocks, of which the last four still train a released basis."""
    if PROMPTS[leaf].fixed and name.startswith(PROMPT) and name.endswith(".basis"):
        block = int(name.removeprefix(PROMPT).split(".")[0])
        return "released" in leaf and block >= TINY_VIT["num_blocks"] - 4
    return is_trained(leaf, name)


@pytest.mark.parametrize("leaf", DETECTION_LEAVES)
def test_a_leaf_is_short_and_says_how_to_run_it(leaf):
    text = (ROOT / leaf).read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 40
    header = text.split('"""')[1]
    assert "Run:    " in header and "Data:   " in header


@pytest.mark.parametrize("leaf", DETECTION_LEAVES)
def test_norms_positions_and_class_tokens_are_not_decayed_and_all_else_that_is_trained_is(leaf):
    cfg = load_config(leaf)
    model = on_meta(cfg)
    cfg.optimizer.params.model = model
    decay = {
        parameter: group["weight_decay"]
        for group in instantiate(cfg.optimizer).param_groups
        for parameter in group["params"]
    }
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    undecayed = {id(p) for norm in norms for p in norm.parameters()}
    undecayed |= {id(p) for n, p in model.named_parameters() if n.endswith(("_embed", "cls_token"))}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert decay[parameter] == (0.0 if id(parameter) in undecayed else 0.1), name
        else:
            assert parameter not in decay, name
