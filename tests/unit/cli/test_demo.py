"""Demo of detection and overfit check: the commands they run, found from any folder."""

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
