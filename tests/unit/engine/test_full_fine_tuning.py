"""Checkpoints of models whose ViT is trained too, against those of models that freeze it."""

import pytest
import torch
from torch import nn

from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.prompts import BilinearPrompt
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT, build_vit

SIZES = {"embed_dim": 12, "num_blocks": 2, "num_heads": 3, "patch_size": 4, "pretrain_size": 8}


class Detector(nn.Module):
    """A prompted ViT and a head, as any of our models."""

    def __init__(self, frozen, init_seed=0):
        super().__init__()
        vit = build_vit(**SIZES, init_seed=init_seed)
        self.backbone = PromptedViT(vit, BilinearPrompt(5, 3, 12), frozen=frozen)
        self.head = nn.Linear(12, 7)


def saved(tmp_path, model):
    FrozenAwareCheckpointer(model, str(tmp_path)).save("model")
    return str(tmp_path / "model.pth")


def test_a_trained_vit_is_in_the_file_and_has_no_fingerprint(tmp_path):
    model = Detector(frozen=False)
    content = torch.load(saved(tmp_path, model), weights_only=True)
    assert content["model"].keys() == model.state_dict().keys()
    assert content["frozen"] == {}


def test_a_trained_vit_comes_back_into_one_that_started_elsewhere(tmp_path):
    model, other = Detector(frozen=False), Detector(frozen=False, init_seed=1)
    FrozenAwareCheckpointer(other).load(saved(tmp_path, model))
    for name, value in other.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_a_file_of_a_full_fine_tuning_is_refused_where_the_vit_is_frozen(tmp_path):
    path = saved(tmp_path, Detector(frozen=False))
    with pytest.raises(
        InputError,
        match=r"model.pth' is of a full fine-tuning: it holds the weights of its ViT \(backbone.vit"
        r"\), which is frozen here; set the frozen= beside the ViT to False, as in that run's",
    ):
        FrozenAwareCheckpointer(Detector(frozen=True)).load(path)


def test_a_file_without_the_vit_is_refused_where_the_vit_is_trained(tmp_path):
    path = saved(tmp_path, Detector(frozen=True))
    with pytest.raises(
        InputError,
        match=r"model.pth' was trained on a frozen ViT \(backbone.vit\) and does not hold its weigh"
        r"ts, but the ViT is trained here; set the frozen= beside the ViT to True, as in that ",
    ):
        FrozenAwareCheckpointer(Detector(frozen=False)).load(path)


def test_a_frozen_vit_is_hashed_once_however_many_checkpointers_ask(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        "bpt_det.engine.model_state.fingerprint", lambda vit: hashed.append(vit) or "a" * 64
    )
    model = Detector(frozen=True)
    for _ in range(2):
        FrozenAwareCheckpointer(model).load(saved(tmp_path, model))
    assert hashed == [model.backbone.vit]


def test_a_frozen_vit_that_gets_other_weights_is_hashed_again(tmp_path):
    model = Detector(frozen=True)
    path = saved(tmp_path, model)
    model.backbone.vit.load_state_dict(build_vit(**SIZES, init_seed=1).state_dict())
    with pytest.raises(InputError, match="was trained on another frozen ViT"):
        FrozenAwareCheckpointer(model).load(path)
