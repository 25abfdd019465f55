"""Averages through a whole run: evaluated, saved, resumed bit for bit, and refused where absent."""

import json
import logging
import shutil

import pytest
import torch
from detectron2.config import instantiate

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config import load_config
from bpt_det.engine import evaluate, evaluate_checkpoint, evaluation, train
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink, use_shapes
from tests.support.regression import regression_config


@pytest.fixture
def cfg(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    cfg = regression_config(tmp_path / "run")
    cfg.train.ema.decay = 0.7
    return cfg


def content(path):
    return torch.load(path, weights_only=True)


def resume_from(folder, checkpoint):
    folder.mkdir()
    shutil.copy(checkpoint, folder)
    (folder / "last_checkpoint").write_text(checkpoint.name)


def test_20_iterations_equal_10_and_10_more_averages_included(
    shapes_root, tmp_path, repository_root, monkeypatch
):
    """Of a detector, with augmentation on."""
    monkeypatch.chdir(repository_root)
    monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", lambda *_: {})
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.update(max_iter=20, eval_period=0, ema={"decay": 0.9}, curves=None)
    cfg.train.checkpointer.period = 10
    cfg.train.output_dir = str(tmp_path / "straight")
    (tmp_path / "straight").mkdir()
    train(cfg)
    resume_from(tmp_path / "resumed", tmp_path / "straight/model_0000009.pth")
    cfg.train.output_dir = str(tmp_path / "resumed")
    torch.rand(13)  # a new process is in another random state
    train(cfg, resume=True)
    folders = (tmp_path / "straight", tmp_path / "resumed")
    straight, resumed = (content(folder / "model_final.pth") for folder in folders)
    assert straight["iteration"] == resumed["iteration"] == 19
    for part in ("model", "ema"):
        assert straight[part].keys() == resumed[part].keys()
        for name, value in straight[part].items():
            assert torch.equal(resumed[part][name], value), name
    for index, state in straight["trainer"]["optimizer"]["state"].items():
        other = resumed["trainer"]["optimizer"]["state"][index]
        assert all(torch.equal(other[key], state[key]) for key in state), index
    assert not any(name.startswith("backbone.net.prompted_vit.vit.") for name in straight["ema"])
    moved = [n for n, v in straight["ema"].items() if not torch.equal(v, straight["model"][n])]
    assert moved and len(moved) > len(straight["ema"]) / 2


def test_the_averages_are_those_of_the_weights_after_each_iteration(cfg, tmp_path):
    cfg.train.checkpointer.update(period=1, max_to_keep=9)
    train(cfg)
    files = [content(tmp_path / f"run/model_{i:07d}.pth") for i in range(6)]
    for earlier, later in zip(files, files[1:], strict=False):
        for name, average in later["ema"].items():
            expected = 0.7 * earlier["ema"][name] + 0.3 * later["model"][name]
            torch.testing.assert_close(average, expected)


def test_each_evaluation_measures_the_averaged_weights_too(cfg, tmp_path):
    results = train(cfg)
    records = [json.loads(line) for line in (tmp_path / "run/metrics.json").open()]
    pairs = [(r["val/loss"], r["val_ema/loss"]) for r in records if "val/loss" in r]
    assert len(pairs) == 3 and all(own != averaged for own, averaged in pairs)
    model = instantiate(cfg.model).eval()
    saved = content(tmp_path / "run/model_final.pth")
    for name, task in (("model", "val"), ("ema", "val_ema")):
        model.load_state_dict(saved[name])
        assert evaluate(cfg, model)["val"] == pytest.approx(results[task])


def test_a_run_from_a_checkpoint_starts_its_averages_from_its_weights(cfg, tmp_path):
    train(cfg)
    cfg.train.update(init_checkpoint=str(tmp_path / "run/model_final.pth"), max_iter=1)
    cfg.train.output_dir = str(tmp_path / "next")
    (tmp_path / "next").mkdir()
    train(cfg)
    start, end = (
        content(tmp_path / "run/model_final.pth"),
        content(tmp_path / "next/model_final.pth"),
    )
    for name, average in end["ema"].items():
        expected = 0.7 * start["model"][name] + 0.3 * end["model"][name]
        torch.testing.assert_close(average, expected)


def test_the_metric_that_decides_may_be_that_of_the_averages(cfg, tmp_path):
    cfg.train.best_metric = "val_ema/loss"
    train(cfg)
    records = [json.loads(line) for line in (tmp_path / "run/metrics.json").open()]
    best = content(tmp_path / "run/model_best.pth")["best"]
    assert best["metric"] == "val_ema/loss"
    assert best["value"] == min(r["val_ema/loss"] for r in records if "val_ema/loss" in r)


def test_the_evaluation_of_averages_writes_into_a_folder_of_its_own(cfg, monkeypatch):
    folders = []

    def run(model, loader, evaluator):
        folders.append(evaluator._evaluator.output_dir)
        return {"val": {"loss": 1.0}}

    monkeypatch.setattr(evaluation, "inference_on_dataset", run)
    cfg.dataloader.evaluator.output_dir = "${train.output_dir}/inference"
    train(cfg)
    folder = f"{cfg.train.output_dir}/inference"
    assert folders == [folder, f"{folder}_ema"] * 3
    assert cfg.dataloader.evaluator.output_dir == folder


def test_resuming_a_run_that_kept_no_averages_is_refused(cfg):
    cfg.train.ema.decay = None
    train(cfg)
    cfg.train.update(ema={"decay": 0.7}, max_iter=8)
    with pytest.raises(
        InputError,
        match=r"model_final.pth' holds no averages of weights \(ema\), .* train.ema.decay=null\.",
    ):
        train(cfg, resume=True)


def test_evaluating_a_checkpoint_without_averages_is_refused(cfg, tmp_path):
    cfg.train.ema.decay = None
    train(cfg)
    cfg.train.ema.decay = 0.7
    with pytest.raises(InputError, match=r"model_final.pth' holds no averages of weights \(ema\)"):
        evaluate_checkpoint(cfg, str(tmp_path / "run/model_final.pth"))


def test_evaluating_a_checkpoint_gives_the_metrics_of_the_end_of_training(cfg, tmp_path):
    results = train(cfg)
    again = evaluate_checkpoint(cfg, str(tmp_path / "run/model_final.pth"))
    assert again.keys() == {"val", "val_ema"}
    assert again == {task: pytest.approx(metrics) for task, metrics in results.items()}


def test_averages_that_are_not_asked_for_are_mentioned_and_left_out(cfg, tmp_path, caplog):
    train(cfg)
    cfg.train.ema.decay = None
    caplog.set_level(logging.INFO)
    assert evaluate_checkpoint(cfg, str(tmp_path / "run/model_final.pth")).keys() == {"val"}
    assert "model_final.pth' holds averages of weights (ema) too; they are not used" in caplog.text
