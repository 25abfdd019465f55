"""Demo of detection and overfit check: the commands they run, found from any folder."""

import contextlib

import pytest
import torch

from bpt_det.cli.actions import demo, overfit
from bpt_det.cli.actions.demo_steps import run_module
from bpt_det.cli.overfit import main
from bpt_det.config import load_config
from bpt_det.utils.errors import InputError


def test_the_demo_renders_trains_and_draws_with_one_config(tmp_path, monkeypatch):
    commands = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run_module", lambda words, datasets: commands.append(words))
    monkeypatch.setattr(demo, "read_final_metrics", lambda folder: {"bbox/AP": 1.0})
    demo.demo(tmp_path, ["train.seed=3"])
    rendering, training, drawing = commands
    assert rendering == ["bpt_det.shapes", "--output", str(tmp_path / "datasets/shapes")]
    assert training[:3] == ["bpt_det.cli", "train", "--config-file"]
    assert drawing[:4] == ["bpt_det.cli", "visualize", *training[2:4]]
    assert drawing[-3:] == training[-3:]  # the same settings
    cfg = load_config(training[3], training[4:])
    assert (cfg.train.seed, cfg.train.output_dir) == (3, str(tmp_path))
    assert cfg.model.backbone.net.prompt is not None


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, "bfloat16"), (False, "auto")])
def test_the_demo_trains_in_bfloat16_where_the_cpu_has_it(
    has_bfloat16, expected, tmp_path, monkeypatch
):
    commands = []
    monkeypatch.setattr(demo, "run_module", lambda words, datasets: commands.append(words))
    monkeypatch.setattr(demo, "read_final_metrics", lambda folder: {"bbox/AP": 1.0})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(demo, "computes_bfloat16", lambda device: has_bfloat16)
    demo.demo(tmp_path, [])
    assert load_config(commands[1][3], commands[1][4:]).train.precision == expected
    demo.demo(tmp_path, ["train.precision=float32"])
    assert load_config(commands[4][3], commands[4][4:]).train.precision == "float32"


@pytest.mark.parametrize("status", [0, 3])
def test_a_step_finds_the_datasets_and_fails_with_its_command(tmp_path, monkeypatch, status):
    monkeypatch.chdir(tmp_path)
    code = "import os, sys; print(os.environ['DETECTRON2_DATASETS'], file=open('out', 'w'))"
    (tmp_path / "step.py").write_text(f"{code}; sys.exit(int(sys.argv[1]))")
    refused = pytest.raises(InputError, match=f"`python -m step {status}` ended with status 3")
    with refused if status else contextlib.nullcontext():
        run_module(["step", str(status)], tmp_path / "sets")
    assert (tmp_path / "out").read_text() == f"{tmp_path}/sets\n"


def test_the_config_of_the_overfit_check_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(overfit.CONFIG).train.max_iter > 0


@pytest.mark.parametrize(("ap50", "status"), [(50.0, 0), (49.9, 1)])
def test_the_overfit_check_fails_below_its_targets(ap50, status, tmp_path, monkeypatch, capsys):
    settings = []
    monkeypatch.setattr(overfit, "train_or_evaluate", lambda args: settings.append(args.opts))
    metrics = {"bbox/AP50": ap50, "segm/AP50": 40.0}
    monkeypatch.setattr(overfit, "read_final_metrics", lambda folder: metrics)
    assert main(["--output", str(tmp_path), "train.max_iter=3"]) == status
    assert settings == [[f"train.output_dir={tmp_path}", "train.max_iter=3"]]
