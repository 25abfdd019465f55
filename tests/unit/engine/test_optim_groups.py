"""Parameter groups: layer-wise learning rates, and parameters without weight decay."""

import inspect
from functools import partial

import pytest
from detectron2.solver.build import get_default_optimizer_params
from torch import nn

from bpt_det.detection import PromptedViTBackbone
from bpt_det.engine import build_param_groups
from bpt_det.prompts import FreePrompt
from bpt_det.utils.errors import InputError
from tests.support.vits import TINY_SIZES, tiny_vit

DECAY, RATE = 0.7, 0.01
L = TINY_SIZES["num_blocks"]
HAS_LR_FACTORS = "lr_factor_func" in inspect.signature(get_default_optimizer_params).parameters


class Detector(nn.Module):
    """A ViT in the place where Detectron2's naming rule looks for it, and a head."""

    def __init__(self, frozen=False):
        super().__init__()
        prompt = FreePrompt(5, TINY_SIZES["embed_dim"], TINY_SIZES["patch_size"])
        self.backbone = PromptedViTBackbone(tiny_vit(), prompt, frozen=frozen)
        self.head = nn.Sequential(nn.Linear(12, 7), nn.LayerNorm(7))


def settings_by_name(model, groups):
    """Return (lr, weight decay) of each parameter, which is in exactly one group."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    actual = {}
    for group in groups:
        for parameter in group["params"]:
            assert names[parameter] not in actual, f"{names[parameter]} is in two groups"
            actual[names[parameter]] = (group.get("lr"), group.get("weight_decay"))
    return actual


def full(model, **kwargs):
    groups = build_param_groups(
        model, RATE, weight_decay=0.1, weight_decay_norm=0.0, layer_decay=DECAY, **kwargs
    )
    return settings_by_name(model, groups)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("layer_decay", [None, DECAY])
def test_every_trained_parameter_is_in_exactly_one_group(frozen, layer_decay):
    model = Detector(frozen)
    groups = build_param_groups(model, RATE, 0.1, 0.0, layer_decay)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert settings_by_name(model, groups).keys() == trained
    settings = [tuple(v for k, v in group.items() if k != "params") for group in groups]
    assert len(set(settings)) == len(settings)


def test_the_rate_falls_by_a_factor_a_block_toward_the_image():
    vit = "backbone.prompted_vit.vit."
    actual = {name: lr for name, (lr, _) in full(Detector()).items()}
    for name in ("patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "pos_embed"):
        assert actual.pop(vit + name) == pytest.approx(RATE * DECAY ** (L + 1))
    for index in range(L):
        for name in [n for n in actual if n.startswith(f"{vit}blocks.{index}.")]:
            assert actual.pop(name) == pytest.approx(RATE * DECAY ** (L - index)), name
    assert actual.keys() == {
        "backbone.prompted_vit.prompts.0.tokens",
        *("head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"),
    }
    assert set(actual.values()) == {RATE}


def test_norms_positions_and_class_token_are_not_decayed():
    model = Detector()
    of_norms = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for own in ("weight", "bias")
    }
    for name, (_, decay) in full(model).items():
        is_free = name in of_norms or name.endswith(("pos_embed", "cls_token"))
        assert decay == (0.0 if is_free else 0.1), name


def test_overrides_come_before_all_other_rules():
    overrides = {"pos_embed": {"weight_decay": 0.05, "lr": 0.5}, "tokens": {"weight_decay": 0.0}}
    actual = full(Detector(), overrides=overrides)
    assert actual["backbone.prompted_vit.vit.pos_embed"] == (0.5, 0.05)
    assert actual["backbone.prompted_vit.prompts.0.tokens"] == (RATE, 0.0)


def test_a_frozen_vit_without_layer_decay_has_the_groups_of_detectron2():
    model = Detector(frozen=True)
    groups = build_param_groups(model, weight_decay_norm=0.0)
    expected = get_default_optimizer_params(model, weight_decay_norm=0.0)
    assert len(groups) == len(expected) == 2
    for group, reference in zip(groups, expected, strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in reference["params"]]
        assert {k: v for k, v in group.items() if k != "params"} == {
            k: v for k, v in reference.items() if k != "params"
        }


@pytest.mark.skipif(not HAS_LR_FACTORS, reason="Detectron2 0.6 has no layer-wise rates")
def test_equals_the_official_vitdet_recipe():
    """Official ViTDet has no class token; its rule by names gives ours the full rate."""
    from detectron2.modeling.backbone.vit import get_vit_lr_decay_rate

    model = Detector()
    groups = get_default_optimizer_params(
        model,
        RATE,
        weight_decay=0.1,
        weight_decay_norm=0.0,
        lr_factor_func=partial(get_vit_lr_decay_rate, num_layers=L, lr_decay_rate=DECAY),
        overrides={"pos_embed": {"weight_decay": 0.0}},
    )
    expected, actual = settings_by_name(model, groups), full(model)
    for settings in (expected, actual):
        del settings["backbone.prompted_vit.vit.cls_token"]
    assert actual.keys() == expected.keys()
    for name, (lr, decay) in expected.items():
        assert actual[name] == (pytest.approx(lr), decay), name


@pytest.mark.parametrize("layer_decay", [0.0, 1.2])
def test_a_decay_out_of_range_is_refused(layer_decay):
    with pytest.raises(InputError, match=rf"layer_decay must be in \(0, 1\], got {layer_decay}\."):
        build_param_groups(Detector(), RATE, layer_decay=layer_decay)


def test_a_decay_without_a_rate_to_decay_is_refused():
    with pytest.raises(InputError, match=r"layer_decay needs a base_lr; set it to '\$\{..lr\}'\."):
        build_param_groups(Detector(), layer_decay=DECAY)


@pytest.mark.parametrize("layer_decay", [None, DECAY])
def test_prompts_alone_have_a_multiple_of_their_rate(layer_decay):
    model = Detector(frozen=layer_decay is None)
    plain, scaled = (
        settings_by_name(
            model, build_param_groups(model, RATE, 0.1, 0.0, layer_decay, prompt_lr_factor=factor)
        )
        for factor in (None, 10)
    )
    ratios = {name: scaled[name][0] / plain[name][0] for name in plain}
    prompts = {name: ratio for name, ratio in ratios.items() if ".prompts." in name}
    assert list(prompts.values()) == [pytest.approx(10)]
    assert {ratio for name, ratio in ratios.items() if name not in prompts} == {1.0}


def test_a_rate_of_prompts_that_cannot_be_is_refused():
    model = Detector(frozen=True)
    with pytest.raises(InputError, match=r"prompt_lr_factor must be > 0, or null, got 0\."):
        build_param_groups(model, RATE, prompt_lr_factor=0)
    with pytest.raises(InputError, match=r"needs a base_lr; set it to '\$\{\.\.lr\}'"):
        build_param_groups(model, prompt_lr_factor=2)
