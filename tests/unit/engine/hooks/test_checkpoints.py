"""Checkpoints on a disk that is full for a while, or to the end."""

import logging

import pytest
import torch

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config import load_config
from bpt_det.engine import read_result, train
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink, use_shapes
from tests.support.regression import regression_config


@pytest.fixture
def cfg(shapes_root, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.update(max_iter=6, log_period=1, eval_period=0)
    cfg.train.checkpointer.period = 2
    return cfg


def run(cfg, folder):
    """Train in a folder; returns the iterations of its periodic checkpoints."""
    folder.mkdir()
    cfg.train.output_dir = str(folder)
    torch.manual_seed(0)  # of the random weights
    try:
        train(cfg)
    finally:
        numbers = sorted(int(path.stem[6:]) for path in folder.glob("model_0*.pth"))
        assert not list(folder.glob(".*.partial"))
    return numbers


def fill_disk(monkeypatch, num_failures, holds=None):
    """Let so many checkpoints fail (those that hold a key) after a part has been written."""
    save, calls = torch.save, []

    def fail_at_first(content, file):
        if holds is None or holds in content:
            calls.append(content)
        if len(calls) <= num_failures and (holds is None or holds in content):
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr("bpt_det.engine.checkpoint.torch.save", fail_at_first)


def test_a_checkpoint_that_cannot_be_written_is_tried_again_and_the_run_is_the_same(
    cfg, tmp_path, monkeypatch, caplog
):
    cfg.train.checkpointer.max_to_keep = 9
    assert run(cfg, tmp_path / "free") == [1, 3, 5]
    caplog.set_level(logging.INFO)
    fill_disk(monkeypatch, 2)  # at iteration 1, and when it is tried again at 2
    assert run(cfg, tmp_path / "full") == [3, 5]
    assert caplog.text.count("model_0000001.pth' ([Errno 28] No space left on device)") == 1
    assert "is the disk full? Training goes on; the checkpoint is tried again" in caplog.text
    assert caplog.text.count("Checkpoints can be written again") == 1
    models = [
        torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"]
        for name in ("free", "full")
    ]
    assert all(torch.equal(models[1][name], value) for name, value in models[0].items())


def test_it_is_tried_again_between_two_periods(cfg, tmp_path, monkeypatch):
    cfg.train.checkpointer.update(period=4, max_to_keep=9)
    fill_disk(monkeypatch, 1)  # at iteration 3; 4 is no period
    assert run(cfg, tmp_path / "full") == [4]
    assert (tmp_path / "full/last_checkpoint").read_text() == "model_final.pth"


def test_a_run_whose_last_checkpoint_cannot_be_written_fails_in_one_line(
    cfg, tmp_path, monkeypatch
):
    fill_disk(monkeypatch, 99)
    with pytest.raises(InputError, match=r"cannot write '.*model_final.pth' .*the disk full\?$"):
        run(cfg, tmp_path / "full")
    assert read_result(tmp_path / "full").status == "failed"


def test_a_run_whose_best_cannot_be_written_at_the_end_is_finished_by_resume(
    tmp_path, repository_root, monkeypatch
):
    monkeypatch.chdir(repository_root)
    runs = [tmp_path / name for name in ("free", "full")]
    cfgs = [regression_config(folder) for folder in runs]
    for cfg in cfgs:
        cfg.train.update(max_iter=2, eval_period=2)
    torch.manual_seed(0)  # of the weights
    train(cfgs[0])
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        fill_disk(patch, 99, holds="best")
        with pytest.raises(InputError, match=r"model_best.pth' .*is the disk full\?$"):
            train(cfgs[1])
    assert read_result(runs[1]).status == "failed"
    train(cfgs[1], resume=True)
    assert read_result(runs[1]).status == "finished"
    free, full = (torch.load(run / "model_best.pth", weights_only=True) for run in runs)
    assert full["best"] == free["best"]
    assert all(torch.equal(full["model"][key], value) for key, value in free["model"].items())
