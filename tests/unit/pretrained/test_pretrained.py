"""Weights that come with the package: their card, and the configs that use them."""

import hashlib
import re

import pytest
import torch
from safetensors import safe_open

from bpt_det import Predictor
from bpt_det.config import load_config
from bpt_det.config.tree import find_vit_owner
from bpt_det.shapes import CATEGORIES, render_image
from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, build_vit
from bpt_det.vit.weights.files import local_path, shipped_names
from tests.support.paths import ROOT

FOLDER = ROOT / "bpt_det/pretrained"
MICRO = "bpt_det:mae_micro_shapes.safetensors"
DETECTORS = {  # config and method by name
    "cascade_bpt_s_shapes.pth": ("shapes/cascade", "method=bpt_s"),
    "cascade_frozen_shapes.pth": ("shapes/cascade", "method=frozen"),
}
CONFIGS = ("shapes/cascade", "shapes/cascade_bpt_s", "shapes/crops")


@pytest.mark.parametrize("name", shipped_names())
def test_the_card_names_the_file_by_its_hash_and_its_license(name):
    card = (FOLDER / "README.md").read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    content = (FOLDER / name).read_bytes()
    assert re.search(r"sha256 \| `(\w+)`", card)[1] == hashlib.sha256(content).hexdigest()
    assert len(content) <= 8e6
    measured = "AP" if name in DETECTORS else "loss"
    for row in ("data", "recipe", "command", "seed", measured, "license | MIT"):
        assert f"| {row} " in card


def test_the_weights_are_float16_and_those_of_the_micro_vit():
    with safe_open(FOLDER / "mae_micro_shapes.safetensors", "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}
    assert {value.dtype for value in state.values()} == {torch.float16}
    vit = build_vit(**ARCHITECTURES["vit_micro"], pretrain_size=64, checkpoint=MICRO)
    assert vit.state_dict().keys() == state.keys()
    assert all(torch.equal(value.half(), state[name]) for name, value in vit.state_dict().items())


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_of_shapes_uses_them(name):
    assert find_vit_owner(load_config(name))[1].vit.checkpoint == MICRO


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_holds_what_was_trained_and_finds_shapes(name):
    """Most of what it is sure of, in images that it was not trained on, is there."""
    content = torch.load(FOLDER / name, weights_only=True)
    types = {value.dtype for value in content["model"].values()}
    assert types == {torch.float16, torch.float8_e4m3fn}
    assert content["class_names"] == [category.name for category in CATEGORIES]
    config, method = DETECTORS[name]
    predictor = Predictor(
        config, f"bpt_det:{name}", overrides=[method], device="cpu", score_threshold=0.5
    )
    num_found = num_right = 0
    for index in range(8):
        pixels, instances = render_image(0, index, split="val", image_size=128)
        found = predictor(pixels)
        num_found += len(found)
        for mask, class_index in zip(found.pred_masks, found.pred_classes.tolist(), strict=True):
            num_right += any(
                (mask.numpy() & truth.mask).sum() > 0.5 * (mask.numpy() | truth.mask).sum()
                for truth in instances
                if truth.category_id == CATEGORIES[class_index].id
            )
    assert num_found >= 8 and num_right >= 0.7 * num_found, (num_right, num_found)


def test_an_unknown_name_is_refused_with_the_known_ones():
    text = "no weights 'mae_huge.pth' .* one of: .*_shapes.pth, mae_micro_shapes.safetensors"
    with pytest.raises(InputError, match=text):
        local_path("bpt_det:mae_huge.pth")
