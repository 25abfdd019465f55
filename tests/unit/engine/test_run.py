"""train() and load_trained_model() with a tiny detector."""

import json
import logging

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.solver import get_default_optimizer_params

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.config import load_config
from bpt_det.engine import load_trained_model, train
from bpt_det.engine import run as loop
from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from tests.support.detectors import constant_rate, shrink, use_shapes
from tests.support.regression import regression_config

pytestmark = pytest.mark.heavy


@pytest.fixture
def cfg(shapes_root, tmp_path, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade_bpt_s.py")), shapes_root)
    cfg.train.max_iter = 3
    cfg.train.log_period = 1
    cfg.train.output_dir = str(tmp_path)
    return cfg


def losses(folder):
    lines = map(json.loads, (folder / "metrics.json").open())
    return [line["total_loss"] for line in lines if "total_loss" in line]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_whole_detector_trains_in_mixed_precision(cfg, tmp_path, precision):
    """The CPU's autocast casts as the GPU's does, so a dtype that does not fit shows here."""
    cfg.train.precision = precision
    train(cfg)
    mixed = losses(tmp_path)
    cfg.train.precision = "float32"
    cfg.train.output_dir = str(tmp_path / "float32")
    (tmp_path / "float32").mkdir()
    torch.manual_seed(0)  # the same initial weights, as the fixture has set for the first run
    train(cfg)
    assert mixed[0] == pytest.approx(losses(tmp_path / "float32")[0], rel=0.02)
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert all(value.dtype == torch.float32 for value in saved["model"].values())


def test_the_last_evaluation_is_returned(cfg):
    results = train(cfg)
    assert results.keys() == {"bbox", "segm"} and "AP-disc" in results["bbox"]


def test_a_trained_model_comes_back_in_evaluation_mode_with_its_prompts(cfg, tmp_path):
    train(cfg)
    model = load_trained_model(cfg)
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert not model.training
    name = "backbone.net.prompted_vit.prompts.0.coeff"
    assert torch.equal(model.state_dict()[name], saved[name])


def test_a_checkpoint_of_another_number_of_classes_is_refused(cfg, tmp_path):
    train(cfg)
    cfg.model.roi_heads.num_classes = 7
    with pytest.raises(InputError, match=r"of another size \(roi_heads.box_predictor.*num_classes"):
        load_trained_model(cfg, str(tmp_path / "model_final.pth"))


@pytest.fixture
def initialized(monkeypatch):
    """The seeds that prompts were initialized with, and the number of optimizers at that time."""
    seeds, optimizers = [], []
    build = loop.build_optimizer
    monkeypatch.setattr(loop, "build_optimizer", lambda *a: optimizers.append(1) or build(*a))
    monkeypatch.setattr(
        PromptedViT,
        "initialize_prompts",
        lambda self, seed, statistics: seeds.append((seed, len(optimizers))),
    )
    return seeds


def test_a_fresh_training_initializes_its_prompts_before_its_optimizer(cfg, initialized):
    cfg.train.seed = 7
    train(cfg)
    assert initialized == [(7, 0)]


def test_resuming_in_an_empty_folder_is_a_fresh_training(cfg, initialized):
    train(cfg, resume=True)
    assert len(initialized) == 1


def test_a_checkpoint_needs_no_initial_prompts(cfg, initialized, tmp_path):
    train(cfg)
    initialized.clear()
    cfg.train.max_iter = 4
    train(cfg, resume=True)
    load_trained_model(cfg)
    cfg.train.init_checkpoint = str(tmp_path / "model_final.pth")
    cfg.train.output_dir = str(tmp_path / "next")
    (tmp_path / "next").mkdir()
    train(cfg)
    assert initialized == []


def test_the_rate_follows_the_images_of_an_iteration_where_asked(cfg, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    cfg.lr_multiplier = constant_rate()
    cfg.optimizer.params.prompt_lr_factor = None
    cfg.train.update(accumulate_steps=3, reference_batch_size=4)  # 2 images a batch
    train(cfg)
    lines = map(json.loads, (tmp_path / "metrics.json").open())
    assert next(lines)["lr"] == pytest.approx(cfg.optimizer.lr * 1.5)
    assert f"scaled from {cfg.optimizer.lr:g} to {1.5 * cfg.optimizer.lr:g}: 6 i" in caplog.text


def test_a_rate_that_was_scaled_is_not_scaled_again_by_resuming(cfg, tmp_path):
    cfg.lr_multiplier = constant_rate()
    cfg.train.reference_batch_size = 4
    train(cfg)
    cfg.train.max_iter = 4
    train(cfg, resume=True)
    rates = [json.loads(line).get("lr") for line in (tmp_path / "metrics.json").open()]
    assert [rate for rate in rates if rate] == pytest.approx([cfg.optimizer.lr / 2] * 4)


def test_the_gradients_norm_is_logged_where_it_is_limited(cfg, tmp_path):
    cfg.train.clip_grad_norm = 0.1
    train(cfg)
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").open()]
    assert all(line["grad_norm"] > 0 for line in lines if "total_loss" in line)


def test_full_fine_tuning_trains_saves_and_loads_the_vit(cfg, tmp_path):
    cfg.model.backbone.net.update(frozen=False, prompt=None)
    cfg.optimizer.params.layer_decay = 0.7
    start = instantiate(cfg.model).state_dict()
    train(cfg)
    loaded = load_trained_model(cfg).state_dict()
    name = "backbone.net.prompted_vit.vit.blocks.0.attn.qkv.weight"
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert torch.equal(loaded[name], saved[name]) and not torch.equal(loaded[name], start[name])


def test_a_config_from_before_the_newer_keys_trains(cfg):
    for key in ("accumulate_steps", "clip_grad_norm", "reference_batch_size", "best_metric_mode"):
        del cfg.train[key]
    del cfg.train["early_stopping"]
    cfg.optimizer.params = L(get_default_optimizer_params)(weight_decay_norm=0.0)
    assert train(cfg).keys() == {"bbox", "segm"}


def test_every_evaluation_is_written_however_seldom_the_log_is(
    tmp_path, repository_root, monkeypatch
):
    monkeypatch.chdir(repository_root)
    cfg = regression_config(tmp_path / "run")
    cfg.train.update(max_iter=7, eval_period=2, log_period=1000)
    train(cfg)
    lines = (tmp_path / "run/metrics.json").read_text().splitlines()
    iterations = [r["iteration"] for r in map(json.loads, lines) if "val/loss" in r]
    assert iterations == [1, 3, 5, 7]


def test_a_resumed_run_without_a_checkpoint_says_that_it_starts_anew(
    tmp_path, repository_root, monkeypatch, caplog
):
    monkeypatch.chdir(repository_root)
    cfg = regression_config(tmp_path / "run")
    train(cfg, resume=True)
    assert f"'{tmp_path / 'run'}' holds no checkpoint: starting" in caplog.text
