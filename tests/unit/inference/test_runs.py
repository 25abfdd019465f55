"""Default checkpoint: that of the run, that of the config, that of the package, in this order."""

import logging

import pytest

from bpt_det.config import load_config
from bpt_det.inference.runs import default_checkpoint
from bpt_det.utils.errors import InputError

SHIPPED = {
    ("shapes/cascade_bpt_s",): "bpt_det:cascade_bpt_s_shapes.pth",
    ("shapes/cascade", "method=bpt_s"): "bpt_det:cascade_bpt_s_shapes.pth",
    ("shapes/cascade",): "bpt_det:cascade_frozen_shapes.pth",
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_run(folder):
    folder.mkdir(parents=True)
    (folder / "last_checkpoint").write_text("model_0000009.pth")
    (folder / "model_0000009.pth").touch()


@pytest.mark.parametrize("arguments", SHIPPED)
def test_a_config_of_the_demo_has_the_detector_of_the_package_and_says_so(arguments, caplog):
    name, *overrides = arguments
    with caplog.at_level(logging.INFO):
        assert default_checkpoint(load_config(name, overrides), name) == SHIPPED[arguments]
    assert SHIPPED[arguments] in caplog.text


def test_a_run_of_the_same_config_comes_first(tmp_path):
    write_run(tmp_path / "output/shapes/cascade_bpt_s")
    name = "shapes/cascade_bpt_s"
    expected = "output/shapes/cascade_bpt_s/model_0000009.pth"
    assert default_checkpoint(load_config(name), name) == expected


@pytest.mark.parametrize("config_file", ["run/config.yaml", "shapes/cascade_bpt_s"])
def test_a_run_that_has_started_from_a_checkpoint_has_its_own(tmp_path, config_file):
    """Not the one in its config, which it was trained from."""
    write_run(tmp_path / "run")
    overrides = ["train.init_checkpoint=start.pth", "train.output_dir=run"]
    cfg = load_config("shapes/cascade_bpt_s", overrides)
    assert default_checkpoint(cfg, config_file) == "run/model_0000009.pth"
    cfg.train.output_dir = "moved"
    if config_file == "run/config.yaml":
        assert default_checkpoint(cfg, config_file) == "run/model_0000009.pth"
    assert default_checkpoint(cfg, config_file, ["train.output_dir=moved"]) == "start.pth"
    assert default_checkpoint(cfg, config_file, overrides) == "start.pth"


@pytest.mark.parametrize(
    ("name", "config_file"),
    [("shapes/cascade_bpt_s", "run/config.yaml"), ("coco/cascade_bpt_s", "coco/cascade_bpt_s")],
)
def test_neither_a_run_nor_another_config_gets_the_packages(name, config_file):
    with pytest.raises(InputError, match="no checkpoint to load: 'output/.*' holds none"):
        default_checkpoint(load_config(name), config_file)
