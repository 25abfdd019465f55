"""Default checkpoint: that of the config, that of its run, that of the package, in this order."""

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


@pytest.mark.parametrize("arguments", SHIPPED)
def test_a_config_of_the_demo_has_the_detector_of_the_package_and_says_so(arguments, caplog):
    name, *overrides = arguments
    with caplog.at_level(logging.INFO):
        assert default_checkpoint(load_config(name, overrides), name) == SHIPPED[arguments]
    assert SHIPPED[arguments] in caplog.text


def test_a_run_of_the_same_config_comes_first(tmp_path):
    folder = tmp_path / "output/shapes/cascade_bpt_s"
    folder.mkdir(parents=True)
    (folder / "last_checkpoint").write_text("model_0000009.pth")
    (folder / "model_0000009.pth").touch()
    name = "shapes/cascade_bpt_s"
    expected = "output/shapes/cascade_bpt_s/model_0000009.pth"
    assert default_checkpoint(load_config(name), name) == expected


def test_the_checkpoint_that_a_config_names_comes_before_all(tmp_path):
    cfg = load_config("shapes/cascade_bpt_s", ["train.init_checkpoint=mine.pth"])
    assert default_checkpoint(cfg, "shapes/cascade_bpt_s") == "mine.pth"


@pytest.mark.parametrize(
    ("name", "config_file"),
    [("shapes/cascade_bpt_s", "run/config.yaml"), ("coco/cascade_bpt_s", "coco/cascade_bpt_s")],
)
def test_neither_a_run_nor_another_config_gets_the_packages(name, config_file):
    with pytest.raises(InputError, match="no checkpoint to load: 'output/.*' holds none"):
        default_checkpoint(load_config(name), config_file)
