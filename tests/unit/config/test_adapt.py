"""Adapting a config to the data that a user asked for: after the overrides, before the checks."""

import pytest

from bpt_det.cli.arguments import build_training_parser
from bpt_det.cli.launch import run_training_tool
from bpt_det.config import load_config
from bpt_det.utils.errors import InputError

SHAPES = "configs/shapes/cascade_bpt_s.py"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch, repository_root):
    monkeypatch.chdir(repository_root)


def test_a_config_is_adapted_in_place_after_its_overrides():
    seen = []

    def adapt(cfg, overrides):
        seen.append((cfg.train.max_iter, list(overrides)))
        cfg.train.max_iter += 1

    cfg = load_config(SHAPES, ["train.max_iter=7"], adapt)
    assert cfg.train.max_iter == 8
    assert seen == [(7, ["train.max_iter=7"])]


def test_settings_of_the_adapter_are_checked():
    def adapt(cfg, overrides):
        cfg.train.max_iter = 0

    with pytest.raises(InputError, match=r"train\.max_iter must be an integer >= 1"):
        load_config(SHAPES, adapt=adapt)


def test_an_error_of_the_adapter_ends_the_command(capsys):
    def adapt(cfg, overrides):
        raise InputError(f"refused {overrides[0]}.")

    argv = ["--config-file", SHAPES, "train.max_iter=7"]
    args = build_training_parser("train", "x").parse_intermixed_args(argv)
    assert run_training_tool(args, adapt=adapt) == 2
    assert capsys.readouterr().err == "error: refused train.max_iter=7.\n"
