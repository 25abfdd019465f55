"""The final test: when it runs, on which weights, and where its metrics go."""

import json
from pathlib import Path

import pytest
import torch
from detectron2.config import LazyConfig

from bpt_det.cli import launch
from bpt_det.cli.arguments import build_training_parser
from bpt_det.config import load_config
from bpt_det.engine import evaluate_checkpoint, train
from bpt_det.utils.errors import InputError
from tests.support.regression import regression_config

pytestmark = pytest.mark.heavy


@pytest.fixture
def cfg(tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    return regression_config(tmp_path / "run", final_test=True)


@pytest.fixture
def scored(monkeypatch, cfg):
    """Train with given values of the validation; returns the evaluations and the model."""

    def run(values, **settings):
        calls, models, values = [], [], iter(values)

        def evaluate(cfg, model, loader, evaluator, suffix, evaluators):
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            calls.append((evaluator, suffix, weights))
            models.append(model)
            if evaluator == "final_evaluator":
                return {f"test{suffix}": {"top1": 50.0}}
            return {f"val{suffix}": {"top1": 0.0 if suffix else next(values)}}

        monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", evaluate)
        cfg.train.update(best_metric="val/top1", best_metric_mode="max", **settings)
        return calls, models, train(cfg)

    return run


def content(cfg, name):
    return torch.load(f"{cfg.train.output_dir}/{name}.pth", weights_only=True)


def equal(state, other):
    return state.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in state.items())


def records(cfg):
    return [json.loads(line) for line in open(f"{cfg.train.output_dir}/metrics.json")]


def test_it_is_of_the_best_weights_and_the_model_keeps_its_last(scored, cfg):
    calls, models, results = scored([3.0, 8.0, 5.0])
    assert [evaluator for evaluator, _, _ in calls] == ["evaluator"] * 3 + ["final_evaluator"]
    best, last = content(cfg, "model_best")["model"], content(cfg, "model_final")["model"]
    assert equal(calls[-1][2], best) and equal(calls[1][2], best) and not equal(best, last)
    assert equal(models[-1].state_dict(), last)
    assert results == {"val": {"top1": 5.0}, "test": {"top1": 50.0}}


def test_it_is_of_the_last_weights_where_the_config_says_so(scored, cfg):
    calls, _, _ = scored([3.0, 8.0, 5.0], final_weights="last")
    assert calls[-1][0] == "final_evaluator"
    assert equal(calls[-1][2], content(cfg, "model_final")["model"])
    assert not equal(calls[-1][2], content(cfg, "model_best")["model"])


def test_without_a_best_checkpoint_it_is_of_the_last_weights(scored, cfg):
    calls, _, _ = scored([float("nan")] * 3)
    assert calls[-1][0] == "final_evaluator"
    assert equal(calls[-1][2], content(cfg, "model_final")["model"])


def test_it_measures_the_averages_of_the_same_file_too(scored, cfg):
    calls, models, results = scored([3.0, 8.0, 5.0], ema={"decay": 0.7})
    assert [call[:2] for call in calls[-2:]] == [
        ("final_evaluator", ""),
        ("final_evaluator", "_ema"),
    ]
    best = content(cfg, "model_best")
    assert equal(calls[-2][2], best["model"]) and equal(calls[-1][2], best["ema"])
    assert not equal(best["ema"], best["model"])
    assert equal(models[-1].state_dict(), content(cfg, "model_final")["model"])
    assert results.keys() == {"val", "val_ema", "test", "test_ema"}


@pytest.mark.parametrize("log_period", [1, 4])
def test_its_metrics_are_written_once_at_the_end(scored, cfg, log_period):
    scored([3.0, 8.0, 5.0], log_period=log_period)
    tested = [record for record in records(cfg) if "test/top1" in record]
    assert [(r["iteration"], r["test/top1"], r["val/top1"]) for r in tested] == [(6, 50.0, 5.0)]


@pytest.mark.parametrize("log_period", [1, 4])
def test_a_run_that_stops_early_is_tested_too(scored, cfg, log_period):
    stopping = {"early_stopping": {"patience": 1}, "max_iter": 40, "log_period": log_period}
    calls, _, results = scored([8.0, 5.0], **stopping)
    assert equal(calls[-1][2], content(cfg, "model_best")["model"])
    assert equal(calls[-1][2], calls[0][2]) and results["test"] == {"top1": 50.0}
    tested = [record for record in records(cfg) if "test/top1" in record]
    assert [(r["iteration"], r["test/top1"]) for r in tested] == [(4, 50.0)]


def test_a_run_that_fails_is_not_tested(cfg, monkeypatch):
    def fail(*_):
        raise InputError("the last image cannot be read")

    monkeypatch.setattr("bpt_det.engine.run.Trainer.run_step", fail)
    monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", pytest.fail)
    cfg.train.max_iter = 1
    with pytest.raises(InputError, match="the last image cannot be read"):
        train(cfg)


def test_one_that_fails_ends_the_run_after_all_else_is_written(cfg, monkeypatch):
    def evaluate(cfg, model, loader, evaluator, *_):
        if evaluator == "final_evaluator":
            raise InputError("test image 'a.jpg' cannot be decoded")
        return {"val": {"loss": 1.0}}

    monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", evaluate)
    cfg.train.update(curves=["val/loss"])
    with pytest.raises(InputError, match="test image 'a.jpg' cannot be decoded"):
        train(cfg)
    assert "val/loss" in records(cfg)[-1] and "test/loss" not in records(cfg)[-1]
    assert (Path(cfg.train.output_dir) / "curves.png").is_file()
    assert content(cfg, "model_final")["trainer"]["iteration"] == cfg.train.max_iter - 1
    with pytest.raises(InputError, match="test image 'a.jpg' cannot be decoded"):  # once more
        train(cfg, resume=True)


def test_it_decides_about_nothing(scored, cfg):
    """A metric of the test is not there when the best checkpoint is chosen."""
    scored([3.0, 8.0, 5.0])
    assert content(cfg, "model_best")["best"] == {
        "metric": "val/top1",
        "mode": "max",
        "value": 8.0,
        "iteration": 3,
    }


def test_it_runs_as_configured(cfg):
    results = train(cfg)
    assert results.keys() == {"val", "test"}
    (tested,) = [record for record in records(cfg) if "test/loss" in record]
    assert tested["test/loss"] == results["test"]["loss"] != results["val"]["loss"]


def test_a_config_without_one_gives_no_test(cfg):
    cfg.dataloader.final_test = None
    assert train(cfg).keys() == {"val"}


def test_bad_test_data_stop_a_run_before_its_first_iteration(cfg, tmp_path):
    cfg.dataloader.final_test.dataset.count = 0
    with pytest.raises(InputError, match=r"the dataset to evaluate on holds no sample; name an"):
        train(cfg)
    assert not (tmp_path / "run/metrics.json").exists()


def test_evaluation_alone_is_of_the_test_data_where_there_are_some(cfg, tmp_path):
    train(cfg)
    path = str(tmp_path / "run/model_best.pth")
    (tested,) = [record["test/loss"] for record in records(cfg) if "test/loss" in record]
    assert evaluate_checkpoint(cfg, path) == {"test": {"loss": pytest.approx(tested)}}
    cfg.dataloader.final_test = None
    assert evaluate_checkpoint(cfg, path).keys() == {"val"}


def test_the_command_line_evaluates_the_test_data(cfg, tmp_path, monkeypatch):
    results = []
    evaluate = launch.evaluate_checkpoint
    monkeypatch.setattr(
        launch, "evaluate_checkpoint", lambda *a, **k: results.append(evaluate(*a, **k))
    )
    monkeypatch.setenv("BPT_DET_TRUST", "tests")
    train(cfg)
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    arguments = ["--config-file", str(tmp_path / "config.yaml"), "--eval-only", "--resume"]
    launch.train_or_evaluate(build_training_parser("train", "x").parse_args(arguments))
    assert [result.keys() for result in results] == [{"test"}]


def test_test_data_without_an_evaluator_are_refused(cfg, tmp_path):
    cfg.dataloader.final_evaluator = None
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    with pytest.raises(
        InputError, match=r"dataloader.final_test needs an evaluator of its data, dataloader.final_"
    ):
        load_config(str(tmp_path / "config.yaml"), trust=["tests"])
    load_config(str(tmp_path / "config.yaml"), ["dataloader.final_test=null"], trust=["tests"])
