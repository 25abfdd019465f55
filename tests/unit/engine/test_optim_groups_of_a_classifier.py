"""Weight decays of a classifier: its head's own, none on biases and 1-D parameters.

The expected groups are written out by name, as WangYZ1608/BPT@9fc3c78 utils.py has them.
"""

import pytest
import torch
from torch import nn

from bpt_det.classification.classifier import PromptedClassifier
from bpt_det.engine import build_param_groups
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from tests.support.vits import TINY_SIZES, tiny_vit

RATE, DECAY, HEAD_DECAY, LAYER_DECAY = 0.05, 0.005, 0.5, 0.7
VIT = "backbone.vit."
PROMPTS = ["backbone.prompts.0.coeff", "backbone.prompts.0.basis"]
MATRICES = [f"{name}.weight" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]
VECTORS = [
    *(f"{name}.bias" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")),
    *(f"{name}.{own}" for name in ("norm1", "norm2") for own in ("weight", "bias")),
]


def classifier(frozen):
    prompt = BilinearPrompt(prompt_length=5, rank=3, embed_dim=TINY_SIZES["embed_dim"])
    backbone = PromptedViT(tiny_vit(torch.float32), prompt, frozen=frozen)
    return PromptedClassifier(backbone, 7, pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3)


def settings_by_name(model, **kwargs):
    """Return (lr, weight decay) of each parameter, which is in exactly one group."""
    settings = {"weight_decay_1d": 0.0, "head_weight_decay": HEAD_DECAY, **kwargs}
    groups = build_param_groups(model, RATE, DECAY, **settings)
    names = {parameter: name for name, parameter in model.named_parameters()}
    actual = [
        (names[parameter], (group["lr"], group["weight_decay"]))
        for group in groups
        for parameter in group["params"]
    ]
    assert len(dict(actual)) == len(actual), "a parameter is in two groups"
    return dict(actual)


def test_with_a_frozen_vit_the_groups_are_prompts_head_and_its_bias():
    assert settings_by_name(classifier(frozen=True)) == {
        **dict.fromkeys(PROMPTS, (RATE, DECAY)),
        "head.weight": (RATE, HEAD_DECAY),
        "head.bias": (RATE, 0.0),
    }


def test_with_layer_decay_a_trained_vit_has_every_parameter_once_at_its_rate_and_decay():
    num_blocks = TINY_SIZES["num_blocks"]

    def rate(depth):
        return pytest.approx(RATE * LAYER_DECAY ** (num_blocks + 1 - depth))

    expected = {
        **{f"{VIT}{name}": (rate(0), 0.0) for name in ("cls_token", "pos_embed")},
        f"{VIT}patch_embed.proj.weight": (rate(0), DECAY),
        f"{VIT}patch_embed.proj.bias": (rate(0), 0.0),
        **{f"{VIT}norm.{own}": (rate(num_blocks + 1), 0.0) for own in ("weight", "bias")},
        **dict.fromkeys(PROMPTS, (RATE, DECAY)),
        "head.weight": (RATE, HEAD_DECAY),
        "head.bias": (RATE, 0.0),
    }
    for index in range(num_blocks):
        block = f"{VIT}blocks.{index}."
        expected |= {block + name: (rate(index + 1), DECAY) for name in MATRICES}
        expected |= {block + name: (rate(index + 1), 0.0) for name in VECTORS}
    assert settings_by_name(classifier(frozen=False), layer_decay=LAYER_DECAY) == expected


@pytest.mark.parametrize("frozen", [False, True])
def test_the_groups_partition_all_trained_parameters(frozen):
    model = classifier(frozen)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert settings_by_name(model).keys() == trained
    groups = build_param_groups(model, weight_decay_1d=0.0, head_weight_decay=HEAD_DECAY)
    decays = [group.get("weight_decay") for group in groups]
    assert len(set(decays)) == len(decays) == 3  # None: left to the optimizer


def test_the_decay_of_1d_parameters_comes_before_the_decay_of_norms():
    actual = settings_by_name(classifier(False), weight_decay_1d=0.3, weight_decay_norm=0.1)
    assert actual[f"{VIT}norm.weight"][1] == actual[f"{VIT}blocks.0.norm1.bias"][1] == 0.3
    assert actual["head.bias"][1] == 0.3 and actual["head.weight"][1] == HEAD_DECAY
    assert actual[f"{VIT}pos_embed"][1] == actual[f"{VIT}cls_token"][1] == 0.0


def test_without_a_decay_of_1d_parameters_the_head_is_decayed_as_a_whole():
    actual = settings_by_name(classifier(True), weight_decay_1d=None)
    assert actual["head.weight"][1] == actual["head.bias"][1] == HEAD_DECAY


def test_overrides_come_before_the_decay_of_the_head_and_of_1d_parameters():
    overrides = {"bias": {"weight_decay": 0.02}, "weight": {"weight_decay": 0.03}}
    actual = settings_by_name(classifier(True), overrides=overrides)
    assert actual["head.bias"][1] == 0.02 and actual["head.weight"][1] == 0.03


def test_a_module_whose_name_only_begins_like_the_head_is_none():
    model = nn.ModuleDict({"head": nn.Linear(3, 2), "headless": nn.Linear(3, 4)})
    actual = settings_by_name(model)
    assert actual["head.weight"][1] == HEAD_DECAY and actual["headless.weight"][1] == DECAY


def test_a_decay_for_a_head_that_is_not_there_is_refused():
    model = nn.ModuleDict({"headless": nn.Linear(3, 4)})
    text = r"optimizer\.params\.head_weight_decay=0\.5 is for a module `head` of the model, but "
    with pytest.raises(InputError, match=text + "ModuleDict has none; set it to null"):
        build_param_groups(model, head_weight_decay=0.5)


@pytest.mark.parametrize("name", ["weight_decay_1d", "head_weight_decay"])
@pytest.mark.parametrize("value", [-0.1, "much"])
def test_a_decay_below_zero_is_refused(name, value):
    text = rf"optimizer\.params\.{name} must be >= 0, or null, got {value}\."
    with pytest.raises(InputError, match=text):
        build_param_groups(classifier(True), **{name: value})
