"""Two processes under gloo: averages and the test at the end are those of one model."""

import json
import os

import pytest
import torch

from bpt_det.engine import evaluate_checkpoint, train
from bpt_det.engine import run as loop
from tests.support.processes import run_in_two_processes
from tests.support.regression import regression_config


def work(rank, repository, folder):
    """One of the two processes; leaves its averages and the tasks it has metrics of."""
    os.chdir(repository)
    cfg = regression_config(folder / "run", final_test=True)
    cfg.train.ema.decay = 0.7
    torch.manual_seed(rank)  # DDP begins with the weights of the first process, and so must these
    kept, build = [], loop.build_ema
    loop.build_ema = lambda *args: kept.append(build(*args)) or kept[0]
    tasks = sorted(train(cfg))
    torch.save({"averages": kept[0].state_dict(), "tasks": tasks}, folder / f"{rank}.pth")


def test_two_processes_average_and_test_as_one(tmp_path, repository_root, monkeypatch):
    run_in_two_processes(work, tmp_path, repository_root, tmp_path)
    left = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    assert [process["tasks"] for process in left] == [["test", "test_ema", "val", "val_ema"], []]
    saved = torch.load(tmp_path / "run/model_final.pth", weights_only=True)["ema"]
    for process in left:
        assert all(torch.equal(process["averages"][name], saved[name]) for name in saved)

    lines = map(json.loads, (tmp_path / "run/metrics.json").open())
    (tested,) = [record for record in lines if "test/loss" in record]
    monkeypatch.chdir(repository_root)
    cfg = regression_config(tmp_path / "run", final_test=True)
    cfg.train.ema.decay = 0.7
    alone = evaluate_checkpoint(cfg, str(tmp_path / "run/model_best.pth"))
    for task in ("test", "test_ema"):
        assert tested[f"{task}/loss"] == pytest.approx(alone[task]["loss"])
