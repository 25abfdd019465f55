"""An interrupted run, resumed, ends bit for bit where an uninterrupted one does."""

import shutil

import pytest
import torch

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config import load_config
from bpt_det.engine import train
from bpt_det.utils.errors import InputError
from tests.support.detectors import constant_rate, shrink, use_shapes


@pytest.fixture
def cfg(shapes_root, tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.max_iter = 20
    cfg.train.checkpointer.period = 10
    cfg.train.eval_period = 0
    cfg.train.output_dir = str(tmp_path / "straight")
    (tmp_path / "straight").mkdir()
    return cfg


@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_20_iterations_equal_10_and_10_more_with_augmentation_on(cfg, tmp_path, accumulate_steps):
    cfg.train.accumulate_steps = accumulate_steps
    train(cfg)
    straight = torch.load(tmp_path / "straight/model_final.pth", weights_only=True)

    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "straight/model_0000009.pth", tmp_path / "resumed")
    (tmp_path / "resumed/last_checkpoint").write_text("model_0000009.pth")
    cfg.train.output_dir = str(tmp_path / "resumed")
    torch.rand(13)  # a new process is in another random state
    train(cfg, resume=True)
    resumed = torch.load(tmp_path / "resumed/model_final.pth", weights_only=True)

    halfway = torch.load(tmp_path / "straight/model_0000009.pth", weights_only=True)
    assert resumed["trainer"]["iteration"] == straight["trainer"]["iteration"] == 19
    for name, value in straight["model"].items():
        assert torch.equal(resumed["model"][name], value), name
    assert any(not torch.equal(halfway["model"][n], v) for n, v in straight["model"].items())
    for index, state in straight["trainer"]["optimizer"]["state"].items():
        other = resumed["trainer"]["optimizer"]["state"][index]
        assert all(torch.equal(other[key], state[key]) for key in state), index


def test_a_finished_run_is_not_trained_again(cfg):
    cfg.train.max_iter = 2
    train(cfg)
    with pytest.raises(
        InputError, match=r"already been trained for 2 iterations; raise train.max_"
    ):
        train(cfg, resume=True)


def test_a_run_that_diverges_stops_and_keeps_the_last_good_checkpoint(cfg, tmp_path):
    cfg.train.checkpointer.period = 1
    cfg.optimizer.lr = 1e30
    cfg.lr_multiplier = constant_rate()
    with pytest.raises(InputError, match=r"at iteration 1 .*lower optimizer\.lr"):
        train(cfg)
    assert (tmp_path / "straight/last_checkpoint").read_text() == "model_0000000.pth"
    content = torch.load(tmp_path / "straight/model_0000000.pth", weights_only=True)
    assert all(torch.isfinite(value).all() for value in content["model"].values())


def test_bad_validation_data_stop_a_run_before_its_first_iteration(cfg, tmp_path):
    cfg.dataloader.test.dataset.names = "missing_val"
    cfg.dataloader.test.dataset.json_file = str(tmp_path / "no.json")
    with pytest.raises(InputError, match=r"dataset 'missing_val': annotation file '.*no.json' "):
        train(cfg)
    assert not (tmp_path / "straight/metrics.json").exists()


def test_a_failure_at_the_last_iteration_is_not_followed_by_an_evaluation(cfg, monkeypatch):
    def fail(*_):
        raise InputError("the last image cannot be read")

    cfg.train.max_iter = 1
    monkeypatch.setattr("bpt_det.engine.run.Trainer.run_step", fail)
    monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", lambda *_: pytest.fail("evaluated"))
    with pytest.raises(InputError, match="the last image cannot be read"):
        train(cfg)
