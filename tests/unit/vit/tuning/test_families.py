"""Every way to tune with every family of the table of backbones: trained and resumed."""

import pytest
import torch
from detectron2.config import LazyConfig, instantiate

from bpt_det.config.files import config_folder, find_methods
from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.utils.errors import InputError
from bpt_det.vit import BACKBONES, PromptedViT, fingerprint
from tests.support.families import images_of_size, small_network

FAMILIES = {  # of tests/support/families.py, by the beginning of the names in the table
    "dinov3": "dinov3",
    "dinov2": "dinov2",
    "eva02": "eva02_base",
    "pe": "pe_spatial",
    "rope": "rope_mixed",
    "siglip2": "siglip",
    "clip": "clip",
    "supervised": "mae",
}
METHODS = {
    name: method.settings
    for name, path in find_methods(config_folder()).items()
    if (method := LazyConfig.load(str(path)).method).statistics is None
    and (method.settings.get("prompt") or method.settings.get("tuning"))
}
SIZES = {"prompt_length": 5, "rank": 2, "embed_dim": 24, "patch_size": 4}
IMAGES = images_of_size(16, 20)


def build(method, family):
    settings = METHODS[method].copy()
    for part in (settings.get("prompt"), settings.get("tuning")):
        if part:
            part.update({key: value for key, value in SIZES.items() if key in part})
    if settings.get("placement") == "last_4":
        settings.placement = "last_2"  # of five blocks
    torch.manual_seed(0)
    parts = {key: instantiate(value) for key, value in settings.items()}
    model = PromptedViT(small_network(family, torch.float32), **parts).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.AdamW(trained, lr=1e-2)


def step(model, optimizer):
    optimizer.zero_grad()
    model(IMAGES).square().mean().backward()
    optimizer.step()


def test_every_backbone_of_the_table_is_of_a_family():
    assert {name.partition("_")[0] for name in BACKBONES} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES.values())
@pytest.mark.parametrize("method", METHODS)
def test_a_pair_trains_three_iterations_and_resumes(method, family, tmp_path):
    model, optimizer = build(method, family)
    frozen, first = fingerprint(model.vit), {k: v.clone() for k, v in model.state_dict().items()}
    for iteration in range(3):
        if iteration == 1:
            torch.manual_seed(iteration)  # of dropout, as the trainer keeps it
            saver = FrozenAwareCheckpointer(model, str(tmp_path), optimizer=optimizer)
            saver.save("model_0")
        step(model, optimizer)
    resumed, resumed_optimizer = build(method, family)
    loader = FrozenAwareCheckpointer(resumed, str(tmp_path), optimizer=resumed_optimizer)
    loader.load(str(tmp_path / "model_0.pth"))
    torch.manual_seed(1)
    for _ in range(2):
        step(resumed, resumed_optimizer)
    assert fingerprint(model.vit) == frozen
    state = resumed.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name
        assert name.startswith("vit.") == torch.equal(value, first[name]), name
    saved = torch.load(tmp_path / "model_0.pth", weights_only=True)["model"]
    assert saved and not any(name.startswith("vit.") for name in saved)


def test_a_checkpoint_of_another_family_is_refused(tmp_path):
    """Networks of equal sizes, whose prompts and tuning have equal shapes."""
    model, _ = build("lora_bpt_s", "mae")
    FrozenAwareCheckpointer(model, str(tmp_path)).save("model")
    other, _ = build("lora_bpt_s", "clip")
    assert [p.shape for p in other.parameters() if p.requires_grad] == [
        p.shape for p in model.parameters() if p.requires_grad
    ]
    with pytest.raises(InputError, match="was trained on another frozen ViT") as caught:
        FrozenAwareCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert "\n" not in str(caught.value)
