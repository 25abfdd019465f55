"""Demo of detection and overfit check: the commands they run, found from any folder."""

import pytest

from bpt_det.cli import demo, overfit
from bpt_det.config import load_config


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


def test_the_config_of_the_overfit_check_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(overfit.CONFIG).train.max_iter > 0


@pytest.mark.parametrize(("ap50", "status"), [(50.0, 0), (49.9, 1)])
def test_the_overfit_check_fails_below_its_targets(ap50, status, tmp_path, monkeypatch, capsys):
    settings = []
    monkeypatch.setattr(overfit, "train_or_evaluate", lambda args: settings.append(args.opts))
    metrics = {"bbox/AP50": ap50, "segm/AP50": 40.0}
    monkeypatch.setattr(overfit, "read_final_metrics", lambda folder: metrics)
    assert overfit.main(["--output", str(tmp_path), "train.max_iter=3"]) == status
    assert settings == [[f"train.output_dir={tmp_path}", "train.max_iter=3"]]
