"""Every method, in a detector and in a classifier: what it trains, decays and needs."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage
from torch import nn

from bpt_det.config import load_config
from bpt_det.config.files import config_folder, find_methods
from bpt_det.config.tree import find_vit_owner
from bpt_det.vit import PromptedViT, collect_statistics
from tests.support.detectors import TINY_VIT, shrink, use_shapes
from tests.support.paths import ROOT
from tests.support.vits import count_parameters

pytestmark = pytest.mark.heavy


class Prompts(NamedTuple):
    """Shapes of a block's prompt parameters, the blocks that have them, and what is not trained."""

    shapes: dict[str, tuple[int, int]]
    blocks: Sequence[int]
    fixed: Sequence[str] = ()
    tuned: int = 0  # trained parameters of the tuning method


def expected_prompts(width, num_blocks, shallow_rank):
    """What each method puts where, by the width and the number of blocks of a ViT."""
    last, every = range(num_blocks - 4, num_blocks), range(num_blocks)
    released = [f"{block}.basis" for block in range(num_blocks - 4)]

    def bilinear(length, rank):
        return {"coeff": (length, rank), "basis": (rank, width)}

    def whitened(length):
        return {"coeff": (length, width), "basis": (width, width)}

    return {
        "frozen": Prompts({}, []),
        "full": Prompts({}, []),
        "bpt_s": Prompts(bilinear(100, shallow_rank), [0]),
        "bpt_d": Prompts(bilinear(50, 50), last),
        "bpt_d_released": Prompts(bilinear(50, 50), every, released),
        "fwhiten_s": Prompts(whitened(100), [0], ["0.basis"]),
        "fwhiten_d": Prompts(whitened(50), last, [f"{block}.basis" for block in last]),
        "twhiten_s": Prompts(whitened(100), [0]),
        "twhiten_d": Prompts(whitened(50), last),
        "vpt_s": Prompts({"tokens": (100, width)}, [0]),
        "vpt_d": Prompts({"tokens": (20, width)}, every),
        "spt_s": Prompts({"tokens": (100, width)}, [0]),
        "spt_d": Prompts({"tokens": (20, width)}, every),
        "lora": Prompts({}, [], tuned=num_blocks * 4 * 8 * width),
        "lora_all": Prompts({}, [], tuned=num_blocks * 18 * 8 * width),
        "lora_bpt_s": Prompts(bilinear(100, shallow_rank), [0], tuned=num_blocks * 4 * 8 * width),
        "adaptformer": Prompts({}, [], tuned=num_blocks * (129 * width + 64)),
        "ssf": Prompts({}, [], tuned=num_blocks * 22 * width),
        "bitfit": Prompts({}, [], tuned=num_blocks * 11 * width),
        "partial_1": Prompts({}, [], tuned=12 * width**2 + 13 * width),
        "gate_vpt_s": Prompts({"tokens": (100, width)}, [0], tuned=num_blocks - 1),
    }


VIT_B = expected_prompts(768, 12, shallow_rank=75)
# Every parameter starts with one of these.
AROUND = {
    "coco/cascade": ("backbone.simfp_", "proposal_generator.", "roi_heads."),
    "fgvc/cub": ("head.",),
}
PREFIX = {"coco/cascade": "backbone.net.prompted_vit.", "fgvc/cub": "backbone."}


def on_meta(cfg):
    find_vit_owner(cfg)[1].vit.checkpoint = None
    with torch.device("meta"):
        return instantiate(cfg.model)


def prompted_vit(model):
    return next(m for m in model.modules() if isinstance(m, PromptedViT))


def prompt_shapes(model):
    return {n: tuple(p.shape) for n, p in prompted_vit(model).prompts.named_parameters()}


def is_trained(base, method, name, fixed):
    vit, prompts = PREFIX[base] + "vit.", PREFIX[base] + "prompts."
    if name.startswith(vit):
        is_unused = base == "coco/cascade" and name.startswith(f"{vit}norm.")  # before a pyramid
        return method == "full" and not is_unused
    if name.startswith(prompts):
        return name.removeprefix(prompts) not in fixed
    if name.startswith(PREFIX[base] + "tuning.blocks."):
        return True
    assert name.startswith(AROUND[base]), name
    return True


def expected_decay(cfg, base, method, name, parameter, norms):
    if method in ("ssf", "bitfit", "gate_vpt_s") and ".tuning." in name:
        return 0.0  # scales around 1, biases of the pre-training, logits at -5
    if name.endswith(("_embed", "cls_token")) or id(parameter) in norms:
        return 0.0
    if base == "fgvc/cub" and parameter.ndim <= 1:
        return 0.0
    if name == "head.weight":
        return cfg.optimizer.params.head_weight_decay
    return cfg.optimizer.weight_decay


def test_every_method_is_listed_here():
    assert set(find_methods(config_folder())) == set(VIT_B)


@pytest.mark.parametrize("base", AROUND)
@pytest.mark.parametrize("method", VIT_B)
def test_every_parameter_is_trained_or_frozen_as_listed_and_decayed_by_one_rule(base, method):
    cfg = load_config(base, [f"method={method}"])
    model = on_meta(cfg)
    rank = {"coco/cascade": 100, "fgvc/cub": 75}[base]
    row = expected_prompts(768, 12, rank)[method]
    assert prompt_shapes(model) == {
        f"{block}.{name}": shape for block in row.blocks for name, shape in row.shapes.items()
    }
    tuning = prompted_vit(model).tuning
    assert row.tuned == (0 if tuning is None else count_parameters(tuning))
    assert bool(prompted_vit(model).needed_statistics) == (cfg.train.prompt_statistics is not None)
    cfg.optimizer.params.model = model
    decay = {}
    for group in instantiate(cfg.optimizer).param_groups:
        for parameter in group["params"]:
            assert parameter not in decay
            decay[parameter] = group["weight_decay"]
    layer_norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    norms = {id(parameter) for norm in layer_norms for parameter in norm.parameters()}
    for name, parameter in model.named_parameters():
        is_listed = is_trained(base, method, name, row.fixed)
        assert parameter.requires_grad == is_listed == (parameter in decay), name
        if is_listed:
            assert decay[parameter] == expected_decay(cfg, base, method, name, parameter, norms), (
                name
            )


@pytest.mark.parametrize(
    ("base", "vit", "width", "num_blocks"),
    [
        ("coco/cascade", "vit_l", 1024, 24),
        ("coco/mask_rcnn", "vit_h", 1280, 32),
        ("imagenet", "vit_l", 1024, 24),
        ("imagenet", "vit_h", 1280, 32),
        ("imagenet", "vit_2b", 2560, 24),
    ],
)
def test_prompts_have_the_width_and_the_blocks_of_a_larger_vit(base, vit, width, num_blocks):
    model = on_meta(load_config(base, ["method=bpt_d", f"vit={vit}"]))
    row = expected_prompts(width, num_blocks, shallow_rank=25)["bpt_d"]
    assert prompt_shapes(model) == {
        f"{block}.{name}": shape for block in row.blocks for name, shape in row.shapes.items()
    }


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("bpt_s", {"0.coeff": (20, 10), "0.basis": (10, 160)}),
        ("vpt_d", {f"{block}.tokens": (5, 160) for block in range(6)}),
        ("fwhiten_d", {f"{b}.{n}": (k, 160) for b in range(2, 6) for n, k in
                       (("coeff", 10), ("basis", 160))}),
    ],
)  # fmt: skip
def test_prompts_of_the_micro_vit_are_fewer(method, expected):
    model = on_meta(load_config("shapes/cascade", [f"method={method}"]))
    assert prompt_shapes(model) == expected


def tiny_detector(config, overrides, shapes_root):
    cfg = use_shapes(shrink(load_config(config, overrides)), shapes_root)
    cfg.dataloader.train.dataset.pop("image_ids", None)
    return cfg, iter(instantiate(cfg.dataloader.train))


def tiny_classifier(config, overrides, shapes_root):
    cfg = load_config(config, overrides)
    cfg.model.backbone.vit.update(TINY_VIT, pretrain_size=64, drop_path_rate=0.0)
    prompt = cfg.model.backbone.prompt
    if prompt is not None:
        prompt.prompt_length = 5
        if "rank" in prompt:
            prompt.rank = 3
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = [{"image": image, "label": label} for label, image in enumerate(images)]
    return cfg, iter([batch, batch])


def take_two_steps(cfg, batches):
    """Return the parameters of a new model before two steps of its optimizer, and the model."""
    model = instantiate(cfg.model).train()
    for prompted in (m for m in model.modules() if isinstance(m, PromptedViT)):
        needed = prompted.needed_statistics
        if needed:
            images = [torch.randn(20, 3, 64, 64)]
            prompted.initialize_prompts(0, collect_statistics(prompted.vit, images, needed))
    before = {name: value.clone() for name, value in model.named_parameters()}
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
    with EventStorage(0):
        for _ in range(2):
            optimizer.zero_grad()
            sum(model(next(batches)).values()).backward()
            optimizer.step()
    return before, model


TINY = expected_prompts(32, TINY_VIT["num_blocks"], shallow_rank=3)


@pytest.mark.parametrize("base", AROUND)
@pytest.mark.parametrize("method", VIT_B)
def test_frozen_weights_are_bit_equal_after_a_step_and_trained_ones_move(base, method, shapes_root):
    build, config = tiny_classifier, base
    if base == "coco/cascade":
        build, config = tiny_detector, "shapes/cascade"  # the same detector, prompts that move
    before, model = take_two_steps(*build(config, [f"method={method}"], shapes_root))
    for name, value in model.named_parameters():
        is_moved = is_trained(base, method, name, TINY[method].fixed)
        assert torch.equal(value, before[name]) != is_moved, name


def test_vitdet_is_trained_as_a_whole(shapes_root):
    before, model = take_two_steps(*tiny_detector("coco/cascade_vitdet_b", [], shapes_root))
    for name, value in model.named_parameters():
        assert not torch.equal(value, before[name]), name


def test_the_counts_in_the_table_of_tuning_methods_are_those_of_vit_b():
    page = (ROOT / "docs/explanation/method.md").read_text()
    counts = {}
    for method in VIT_B:
        network = prompted_vit(on_meta(load_config("coco/cascade", [f"method={method}"])))
        if network.tuning is not None:
            counts[method] = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert len(counts) == 8
    for method, count in counts.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{method}` |"))
        assert f"| {count:,} |" in row, (method, count)


@pytest.mark.parametrize(
    "setting",
    [
        "layers=[2,5,8,11]",
        "layers=quarters join=weights",
        "layers=quarters join=levels",
        "neck_blocks=2",
        "neck_blocks=2 neck_window=14",
    ],
)
def test_the_counts_in_the_table_of_layers_and_necks_are_those_of_vit_b(setting):
    page = (ROOT / "docs/explanation/method.md").read_text()
    keys = [f"model.backbone.net.{part}" for part in setting.split()]
    net = on_meta(load_config("coco/cascade", ["method=frozen", *keys])).backbone.net
    row = next(line for line in page.splitlines() if line.startswith(f"| `{setting}`"))
    assert row.endswith(f"| {sum(p.numel() for p in net.neck.parameters()):,} |")
