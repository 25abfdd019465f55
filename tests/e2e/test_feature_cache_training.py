"""Training from cached tokens: exact resume, no image read, several processes."""

import shutil

import pytest
import torch

import bpt_det.classification.mapper as module
from bpt_det.classification.classification_data import use_classification_data
from bpt_det.cli.arguments import build_training_parser
from bpt_det.cli.launch import run_training_tool
from bpt_det.config import load_config
from bpt_det.engine import train
from bpt_det.engine.metrics import read_final_metrics
from bpt_det.utils.errors import InputError
from tests.support.class_trees import write_cub
from tests.support.processes import run_in_two_processes
from tests.support.vits import TINY_SIZES

TINY_VIT = {**TINY_SIZES, "pretrain_size": 24, "checkpoint": "null"}


def overrides(root, output_dir, **more):
    settings = {
        **{f"model.backbone.vit.{key}": value for key, value in TINY_VIT.items()},
        **{"model.backbone.prompt.prompt_length": 7, "model.backbone.prompt.rank": 4},
        **{"model.backbone.placement": "last_2", "dataloader.root": root},
        **{"dataloader.image_size": 24, "dataloader.resize_size": 32},
        **{"dataloader.train.num_workers": 0, "dataloader.test.num_workers": 0},
        **{"dataloader.train.total_batch_size": 6, "dataloader.train.mapper.num_views": 3},
        **{"train.max_iter": 20, "train.checkpointer.period": 10, "train.eval_period": 10},
        **{"train.output_dir": output_dir, "train.device": "cpu", "train.precision": "float32"},
        **{"dataloader.cache_prefix": True, **more},
    }
    return ["method=bpt_d", *(f"{key}={value}" for key, value in settings.items())]


@pytest.fixture
def run(tmp_path, repository_root, monkeypatch):
    """Returns a function that trains in a folder of its own and returns its last checkpoint."""
    monkeypatch.chdir(repository_root)
    root = write_cub(tmp_path / "CUB_200_2011")

    def run(name, resume=False, **more):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        settings = overrides(root, folder, **more)
        config = "configs/fgvc/cub.py"
        cfg = load_config(config, settings, use_classification_data)
        torch.manual_seed(int(resume))  # of the initial weights; a resumed run has its own
        train(cfg, resume=resume)
        return torch.load(folder / "model_final.pth", weights_only=True)

    return run


def assert_same(content, other, part="model"):
    assert content[part].keys() == other[part].keys()
    for name, value in content[part].items():
        assert torch.equal(other[part][name], value), name


@pytest.mark.parametrize("where", ["memory", "file"])
def test_20_iterations_equal_10_and_10_more(where, run, tmp_path):
    more = {"train.ema.decay": 0.9}
    if where == "file":
        more["dataloader.cache_dir"] = tmp_path / "cache"
    straight = run("straight", **more)
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "straight/model_0000009.pth", tmp_path / "resumed")
    (tmp_path / "resumed/last_checkpoint").write_text("model_0000009.pth")
    resumed = run("resumed", resume=True, **more)
    assert_same(straight, resumed)
    assert resumed["trainer"]["iteration"] == 19
    for name in ("val/loss", "val_ema/loss"):
        both = [read_final_metrics(tmp_path / run, name)[name] for run in ("straight", "resumed")]
        assert both[0] == both[1], name


def test_memory_file_and_loading_processes_train_alike(run, tmp_path):
    expected = run("memory")
    folder = tmp_path / "cache"
    workers = {"dataloader.train.num_workers": 2, "dataloader.test.num_workers": 1}
    assert_same(expected, run("file", **{"dataloader.cache_dir": folder}))
    assert len(list(folder.glob("*.npy"))) == 2  # training and validation
    assert_same(expected, run("again", **{"dataloader.cache_dir": folder}, **workers))
    assert_same(expected, run("memory_and_workers", **workers))


def test_the_trained_weights_are_close_to_those_without_the_cache(run):
    """The same views in the same order; the tokens are rounded."""
    rate = {"optimizer.lr": 1e-3}
    cached, plain = (
        run("cached", **rate),
        run("plain", **{**rate, "dataloader.cache_prefix": False}),
    )
    first = run("first", **{**rate, "train.max_iter": 1})
    for name in plain["model"]:
        value, other, start = (c["model"][name].float() for c in (plain, cached, first))
        assert (other - value).norm() < 0.1 * (value - start).norm(), name


def test_each_training_and_validation_view_is_read_once_and_test_images_as_they_come(
    run, monkeypatch
):
    names = []
    read_rgb = module.read_rgb
    monkeypatch.setattr(module, "read_rgb", lambda name: names.append(name) or read_rgb(name))
    run("run")
    counts = sorted(names.count(name) for name in set(names))
    assert counts == [1] * (3 + 10) + [3] * 27  # validation and test; training by views


def test_a_placement_that_cannot_be_cached_stops_before_the_first_iteration(run, tmp_path):
    with pytest.raises(InputError, match="placement prompts block 0, so"):
        run("run", **{"model.backbone.placement": "shallow"})
    assert list((tmp_path / "run").glob("*.pth")) == []


def _run_process(rank, arguments):
    """The whole main job in one of two processes."""
    args = build_training_parser("train-cls", "").parse_intermixed_args(arguments)
    assert run_training_tool(args, use_classification_data) == 0


def test_two_processes_fill_one_file_that_one_process_uses_again(run, tmp_path):
    folder = tmp_path / "cache"
    more = {"dataloader.cache_dir": folder}
    settings = overrides(tmp_path / "CUB_200_2011", tmp_path / "two", **more)
    arguments = ["--config-file", "configs/fgvc/cub.py", *settings]
    run_in_two_processes(_run_process, tmp_path, arguments)
    files = sorted(folder.glob("*.npy"))
    alone = run("alone", **more)
    assert sorted(folder.glob("*.npy")) == files and len(files) == 2
    assert_same(alone, run("memory"))
