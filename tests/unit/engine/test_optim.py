"""The optimizer of a config, and the scaling of its learning rate."""

import logging

import pytest
import torch
from detectron2.config import LazyCall as L
from omegaconf import OmegaConf
from torch import nn

from bpt_det.config import load_config
from bpt_det.engine.optim import build_optimizer, build_param_groups, scale_learning_rate
from tests.support.paths import ROOT


def two_groups():
    groups = [
        {"params": [nn.Parameter(torch.ones(2))], "lr": 0.002},
        {"params": [nn.Parameter(torch.ones(3))], "lr": 0.0005, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, weight_decay=0.1)


def test_every_groups_rate_is_multiplied_and_nothing_else():
    optimizer = two_groups()
    scale_learning_rate(optimizer, batch_size=24, reference_batch_size=16)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.003, 0.00075])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_the_old_and_new_rate_are_logged(caplog):
    caplog.set_level(logging.INFO)
    scale_learning_rate(two_groups(), batch_size=24, reference_batch_size=16)
    assert (
        "Learning rate scaled from 0.002 to 0.003: 24 images per iteration, "
        "train.reference_batch_size=16 (the highest rate)" in caplog.text
    )


def test_the_optimizer_is_that_of_the_config_which_stays_as_it_was():
    optimizer = L(torch.optim.AdamW)(
        params=L(build_param_groups)(base_lr="${..lr}", weight_decay_norm=0.0),
        lr=0.01,
        weight_decay=0.3,
    )
    cfg = OmegaConf.create({"optimizer": optimizer}, flags={"allow_objects": True})
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    built = build_optimizer(cfg, model)
    assert [(g["lr"], g["weight_decay"]) for g in built.param_groups] == [(0.01, 0.3), (0.01, 0.0)]
    assert "model" not in cfg.optimizer.params


@pytest.mark.parametrize("name", ["configs/shapes/cascade_bpt_s.py", "configs/shapes/mae_micro.py"])
def test_the_one_pass_step_of_the_configs_is_the_same_step(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    trained = []
    for is_fused in (True, False):
        cfg = load_config(name, [f"optimizer.fused={is_fused}"] * (not is_fused))
        assert cfg.optimizer.fused is is_fused
        cfg.optimizer.lr = 0.1
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(30, 40), nn.LayerNorm(40), nn.Linear(40, 1))
        optimizer = build_optimizer(cfg, model)
        inputs = torch.randn(50, 30)
        for _ in range(5):
            optimizer.zero_grad()
            (model(inputs) - 1).square().mean().backward()
            optimizer.step()
        trained.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*trained, rtol=1e-5, atol=1e-6)
