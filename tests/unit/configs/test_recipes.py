"""Recipes of the paper that a config has, a few of each table."""

import pytest
import torch
from detectron2.config import instantiate
from omegaconf import OmegaConf

from bpt_det.config import load_config
from bpt_det.config.files import config_folder, find_methods
from bpt_det.utils.compat import name_of_target


def on_meta(cfg):
    cfg.model.backbone.net.vit.checkpoint = None
    with torch.device("meta"):
        return instantiate(cfg.model)


def test_the_published_detector_has_the_published_number_of_parameters():
    """In millions: frozen 85.8, pyramid 5.56, RPN 1.18, heads 48.53."""
    model = on_meta(load_config("coco/cascade_bpt_s"))
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


def test_the_recipe_of_prompts_on_coco():
    cfg = load_config("coco/cascade_bpt_s")
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


def test_the_recipe_of_full_fine_tuning_on_coco():
    """The layer-wise decay is that of ViTDet-B."""
    cfg = load_config("coco/cascade", ["method=full"])
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay) == (1e-4, 0.1)
    assert cfg.model.backbone.net.vit.drop_path_rate == 0.1
    assert cfg.optimizer.params.layer_decay == 0.7
    assert cfg.train.max_iter == 273_539


def test_a_vit_of_patches_of_14_pixels_detects_with_16():
    vit = load_config("coco/mask_rcnn", ["vit=vit_h"]).model.backbone.net.vit
    assert (vit.pretrained_patch_size, vit.patch_size) == (14, 16)
    assert vit.checkpoint == "weights/mae_pretrain_vit_huge.pth"


def optimizer_of(cfg):
    return cfg.optimizer.lr, cfg.optimizer.weight_decay, cfg.optimizer.params.head_weight_decay


FGVC = {  # learning rate, weight decay, weight decay of the head
    "cub method=bpt_s": (5e-2, 5e-3, 0.5),
    "cub method=bpt_d": (5e-2, 5e-3, 0.5),
    "cub method=bpt_s pretraining=moco": (5e-2, 5e-3, 0.1),
    "nabirds method=spt_s": (5e-2, 5e-3, 0.1),
    "nabirds method=spt_d": (5e-2, 5e-3, 0.3),
    "flowers method=twhiten_s": (1e-1, 5e-3, 1.0),
    "flowers method=bpt_d": (1e-1, 5e-3, 1.0),  # not stated: that of shallow prompts
    "dogs method=bpt_d pretraining=moco": (5e-2, 2e-3, 0.1),
    "dogs method=bpt_s pretraining=supervised": (5e-3, 1e-2, 3),
    "cars method=vpt_s": (5e-2, 2e-3, 0.1),
    "cars method=vpt_d": (5e-2, 5e-3, 0.1),
    "cars method=bpt_s pretraining=supervised": (2e-2, 1e-2, 3),
    "cars method=full": (4e-3 * 32 / 1024, 0.05, 0.05),  # ours
}
NUM_CLASSES = {"cub": 200, "nabirds": 555, "flowers": 102, "dogs": 120, "cars": 196}


@pytest.mark.parametrize("name", FGVC)
def test_the_recipe_of_fgvc(name):
    data, *choices = name.split()
    cfg = load_config(f"fgvc/{data}", choices)
    assert optimizer_of(cfg) == FGVC[name]
    assert cfg.dataloader.train.total_batch_size == 32
    schedule = cfg.train.epochs, cfg.lr_multiplier.warmup, cfg.lr_multiplier.final_lr
    assert schedule == (100, 10 / 100, 1e-8)
    assert (cfg.data.name, cfg.model.num_classes) == (data, NUM_CLASSES[data])
    assert cfg.model.pooling == ("cls" if "pretraining" in name else "all")


@pytest.mark.parametrize(
    ("choices", "rank"),
    [
        (("fgvc/flowers", "method=bpt_s"), 75),
        (("fgvc/cub", "method=bpt_s", "pretraining=moco"), 75),
        (("fgvc/cub", "method=bpt_s", "pretraining=supervised"), 25),
        (("fgvc/dogs", "method=bpt_s", "pretraining=supervised"), 75),
        (("imagenet", "method=bpt_s"), 25),
    ],
)
def test_the_rank_of_shallow_bilinear_prompts(choices, rank):
    assert load_config(choices[0], choices[1:]).model.backbone.prompt.rank == rank


IMAGENET = {  # as above, with the percentage of the images
    "method=frozen": (0.1, 0.01, 1e-2, 100),
    "method=twhiten_s": (0.1, 0.01, 1e-2, 100),
    "method=bpt_s vit=vit_l": (0.2, 0.01, 1e-2, 100),
    "method=bpt_s vit=vit_2b": (0.3, 0.01, 1e-2, 100),
    "method=bpt_s fraction=1pct": (0.1, 0.01, 5e-1, 1),
    "method=bpt_s fraction=30pct": (0.1, 0.01, 1e-1, 30),
    "method=bpt_s vit=vit_h fraction=10pct": (0.2, 0.01, 1e-1, 10),
    "method=full vit=vit_l": (4e-3, 0.05, 0.05, 100),
    "method=full vit=vit_2b fraction=10pct": (1e-2, 0.05, 0.05, 10),
}


@pytest.mark.parametrize("name", IMAGENET)
def test_the_recipe_of_imagenet(name):
    cfg = load_config("imagenet", name.split())
    assert (*optimizer_of(cfg), cfg.dataloader.fraction) == IMAGENET[name]
    assert cfg.dataloader.train.total_batch_size == 1024
    assert (cfg.data.name, cfg.model.num_classes) == ("imagenet", 1000)
    assert (cfg.lr_multiplier.warmup, cfg.lr_multiplier.final_lr) == (10 / 100, 1e-8)
    assert cfg.model.pooling == "all"
    if "full" not in name:
        assert cfg.train.epochs == 100


@pytest.mark.parametrize(
    ("vit", "expected"),
    [
        ("vit_b", (100, 0.1, 0.65)),
        ("vit_l", (50, 0.1, 0.75)),
        ("vit_h", (50, 0.2, 0.75)),
        ("vit_2b", (35, 0.3, 0.75)),
    ],
)
def test_full_fine_tuning_on_imagenet_has_epochs_and_drop_path_by_size(vit, expected):
    cfg = load_config("imagenet", ["method=full", f"vit={vit}"])
    drop_path_rate = cfg.model.backbone.vit.drop_path_rate
    assert (cfg.train.epochs, drop_path_rate, cfg.optimizer.params.layer_decay) == expected


@pytest.mark.parametrize("method", find_methods(config_folder()))
def test_the_recipe_of_vpt_with_every_method(method):
    """KMnP/vpt@4410440; what a method puts into the ViT stays."""
    published = load_config("fgvc/cub", [f"method={method}"])
    cfg = load_config("fgvc/cub", [f"method={method}", "recipe=vpt"])
    assert name_of_target(cfg.optimizer._target_) == "torch.optim.SGD"
    assert set(cfg.optimizer) == {"_target_", "params", "lr", "momentum", "weight_decay"}
    assert (cfg.optimizer.momentum, cfg.train.reference_batch_size) == (0.9, 256)
    assert cfg.optimizer.params.head_weight_decay is None
    assert cfg.model.backbone.prompt_dropout == 0.1
    assert (cfg.model.head_init, cfg.model.final_norm) == ("kaiming", "identity")
    mappers = cfg.dataloader.train.mapper, cfg.dataloader.test.mapper
    assert [mapper.interpolation for mapper in mappers] == ["bilinear"] * 2
    assert (mappers[0].crop, mappers[0].resize_size, mappers[0].image_size) == ("random", 256, 224)
    assert (cfg.lr_multiplier.num_steps, cfg.lr_multiplier.final_lr) == (100, 0.0)
    for key in ("prompt", "placement", "frozen", "vit"):
        assert cfg.model.backbone[key] == published.model.backbone[key]


@pytest.mark.parametrize(
    ("base", "choices", "norm"),
    [
        ("fgvc/cars", ["pretraining=supervised"], "pretrained"),
        ("fgvc/cub", ["pretraining=moco"], "pretrained"),
        ("fgvc/cub", ["pretraining=mae"], "identity"),
        ("imagenet", ["vit=vit_l"], "identity"),
        ("shapes/crops", [], "identity"),
    ],
)
def test_only_the_norm_of_mae_is_dropped(base, choices, norm):
    assert load_config(base, [*choices, "recipe=vpt"]).model.final_norm == norm
    assert load_config(base, choices).model.final_norm == "pretrained"


def test_the_recipe_of_bpt_is_the_default():
    assert load_config("fgvc/cars", ["recipe=bpt"]) == load_config("fgvc/cars")


@pytest.mark.parametrize("base", ["fgvc/cub", "imagenet", "shapes/crops"])
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("bpt_s", {"optimizer.params.prompt_lr_factor": 10}),
        ("bpt_d", {"model.backbone.placement": "all", "dataloader.cache_prefix": False}),
        ("vpt_d", {}),
    ],
)
def test_our_recipe_changes_the_methods_that_gained(base, method, changes):
    published = load_config(base, [f"method={method}", "train.output_dir=output/run"])
    cfg = load_config(base, [f"method={method}", "recipe=ours", "train.output_dir=output/run"])
    assert all(OmegaConf.select(cfg, key) == value for key, value in changes.items())
    for key, value in changes.items():
        OmegaConf.update(published, key, value)
    assert cfg == published


def test_an_override_counts_more_than_the_recipe():
    cfg = load_config("fgvc/cub", ["recipe=vpt", "optimizer.lr=25", "optimizer.momentum=0"])
    assert (cfg.optimizer.lr, cfg.optimizer.momentum) == (25, 0)
