"""Weights that come with the package: their card, and the configs that use them."""

import hashlib
import re

import pytest
import torch
from safetensors import safe_open

from bpt_det.config import load_config
from bpt_det.config.tree import find_vit_owner
from bpt_det.utils.errors import InputError
from bpt_det.vit import ARCHITECTURES, build_vit
from bpt_det.vit.weights.files import local_path
from tests.support.paths import ROOT

FOLDER = ROOT / "bpt_det/pretrained"
NAMES = [path.name for path in FOLDER.glob("*.safetensors")]
MICRO = "bpt_det:mae_micro_shapes.safetensors"
CONFIGS = ("shapes/cascade", "shapes/cascade_bpt_s", "shapes/crops")


@pytest.mark.parametrize("name", NAMES)
def test_the_card_names_the_file_by_its_hash_and_its_license(name):
    card = (FOLDER / "README.md").read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    content = (FOLDER / name).read_bytes()
    assert re.search(r"sha256 \| `(\w+)`", card)[1] == hashlib.sha256(content).hexdigest()
    assert len(content) <= 8e6
    for row in ("data", "recipe", "command", "seed", "loss", "license | MIT"):
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


def test_an_unknown_name_is_refused_with_the_known_ones():
    text = "no weights 'mae_huge.pth' .* one of: mae_micro_shapes.safetensors"
    with pytest.raises(InputError, match=text):
        local_path("bpt_det:mae_huge.pth")
