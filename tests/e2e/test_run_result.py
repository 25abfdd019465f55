"""result.json and exit status: every way in which a run ends, through the command line."""

import json

import pytest
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig

from bpt_det.cli.arguments import build_training_parser
from bpt_det.cli.launch import run_training_tool
from bpt_det.engine import read_result
from tests.support.regression import FailAt, regression_config


@pytest.fixture
def command(tmp_path, repository_root, monkeypatch):
    """Run the training command with settings of a tiny config; returns its exit status."""
    monkeypatch.chdir(repository_root)
    monkeypatch.setenv("BPT_DET_TRUST", "tests")  # its model and hooks
    cfg = regression_config(tmp_path / "run", final_test=True)
    cfg.train.checkpointer.period = 2

    def run(*arguments, fail_at=None, **settings):
        cfg.train.update(settings)
        cfg.train.hooks = [] if fail_at is None else [L(FailAt)(iteration=fail_at[0])]
        if fail_at is not None:
            cfg.train.hooks[0].fault = fail_at[1]
        LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
        argv = ["--config-file", str(tmp_path / "config.yaml"), *arguments]
        return run_training_tool(build_training_parser("train", "x").parse_intermixed_args(argv))

    return run


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def test_a_finished_run(command, folder):
    assert command() == 0
    result = read_result(folder)
    assert (result.status, result.error) == ("finished", None)
    assert (result.iterations, result.max_iter) == (6, 6)
    assert (result.trained_parameters, result.frozen_parameters) == (8, 0)
    assert result.metrics["last"].keys() == result.metrics["best"].keys() == {"val/loss"}
    assert result.metrics["final"].keys() == {"test/loss"}
    assert result.seconds > 0 and result.versions["torch"] and result.command
    assert (folder / "config.yaml").is_file()


def test_the_best_metrics_are_those_of_the_best_checkpoint(command, folder):
    command("optimizer.lr=1.5", max_iter=6)  # too high: it gets worse
    records = [json.loads(line) for line in (folder / "metrics.json").open()]
    values = {r["iteration"]: r["val/loss"] for r in records if "val/loss" in r}
    result = read_result(folder)
    assert result.metrics["best"]["val/loss"] == min(values.values())
    assert result.best_iteration == min(values, key=values.get)
    assert result.metrics["last"]["val/loss"] == values[max(values)]


def test_a_run_that_stops_early(command, folder):
    assert command("optimizer.lr=0.0", early_stopping={"patience": 1}) == 0
    result = read_result(folder)
    assert (result.status, result.iterations) == ("stopped_early", 4)
    assert result.metrics["final"]
    written = (folder / "result.json").read_bytes()
    assert command("optimizer.lr=0.0", "--resume") == 2  # refused, as it has ended
    assert (folder / "result.json").read_bytes() == written


def test_an_interrupted_run(command, folder):
    assert command(fail_at=(4, "interrupt")) == 130
    result = read_result(folder)
    assert (result.status, result.iterations) == ("interrupted", 4)
    assert result.metrics["last"].keys() == {"val/loss"} and not result.metrics["final"]


def test_a_run_whose_loss_is_not_finite(command, folder):
    assert command("optimizer.lr=1e30") == 3
    result = read_result(folder)
    assert result.status == "diverged" and "loss_square" in result.error
    assert result.iterations < 6


def test_a_run_whose_weights_are_not_finite(command, folder):
    assert command(fail_at=(5, "weight")) == 3
    result = read_result(folder)
    assert result.status == "diverged" and "linear.weight" in result.error


def test_a_run_that_meets_bad_input(command, folder, capsys):
    assert command(fail_at=(1, "bad input")) == 2
    assert "image 'a.jpg' cannot be decoded" in capsys.readouterr().err
    result = read_result(folder)
    assert (result.status, result.iterations) == ("failed", 1)
    assert result.error == "image 'a.jpg' cannot be decoded"


def test_a_run_that_fails_by_a_fault_of_ours(command, folder):
    with pytest.raises(RuntimeError):  # Python ends with a traceback and status 1
        command(fail_at=(1, "fault"))
    result = read_result(folder)
    assert (result.status, result.error) == ("failed", "RuntimeError: no such kernel")


def test_bad_data_fail_before_the_first_iteration(command, folder):
    assert command("dataloader.test.dataset.count=0") == 2
    result = read_result(folder)
    assert (result.status, result.iterations) == ("failed", 0)
    assert "holds no sample" in result.error and result.trained_parameters == 8


def test_while_it_runs_its_status_says_so(command, folder, monkeypatch):
    seen = []
    monkeypatch.setattr(FailAt, "after_step", lambda _: seen.append(read_result(folder)))
    command(fail_at=(0, "fault"))
    assert {result.status for result in seen} == {"running"}
    assert seen[0].trained_parameters == 8 and not seen[0].metrics["last"]
    assert seen[2].metrics["last"] and seen[2].iterations == 1


def test_a_resumed_run_keeps_its_best_its_start_and_its_seconds(command, folder):
    command(fail_at=(4, "interrupt"))
    earlier = read_result(folder)
    assert command("optimizer.lr=20.0", "--resume") == 0
    result = read_result(folder)
    assert (result.status, result.iterations, result.error) == ("finished", 6, None)
    assert result.started == earlier.started and result.seconds > earlier.seconds
    assert result.metrics["best"] == earlier.metrics["best"]
    assert result.best_iteration == earlier.best_iteration
    assert result.metrics["last"] != earlier.metrics["last"]


@pytest.mark.parametrize("arguments", [[], ["--resume"], ["--resume", "optimizer.lr=-1"]])
def test_a_refusal_leaves_the_result_of_an_earlier_run(command, folder, arguments):
    command()
    written = (folder / "result.json").read_bytes()
    assert command(*arguments) == 2
    assert (folder / "result.json").read_bytes() == written


def test_an_evaluation_has_a_result_of_its_own(command, folder):
    command()
    written = (folder / "result.json").read_bytes()
    assert command("--eval-only", "--resume") == 0
    result = read_result(folder / "eval_only")
    assert (result.status, result.max_iter) == ("finished", None)
    assert result.metrics["final"].keys() == {"test/loss"}
    assert (folder / "result.json").read_bytes() == written


def test_the_config_hash_is_that_of_the_settings_but_for_the_folder(command, folder, tmp_path):
    hashes = []
    for number, setting in enumerate(["train.seed=1", "train.seed=1", "train.seed=2"]):
        command(setting, f"train.output_dir={tmp_path}/{number}", "train.max_iter=1")
        hashes.append(read_result(tmp_path / str(number)).config_hash)
    assert hashes[0] == hashes[1] != hashes[2]
