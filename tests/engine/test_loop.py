"""Training and evaluating a whole detector through the loop."""

import json

import pytest
import torch
from tiny import shrink, use_shapes

import bpt_det.detection.datasets  # noqa: F401  registers the data sets
from bpt_det.engine import load_config, load_trained_model, train
from bpt_det.errors import InputError


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
