"""Workloads: one call of each measure, on a detector small enough for a test."""

import pytest
import torch

from bpt_det.benchmark.workloads import Models, build_data_loading, build_workloads
from bpt_det.config import load_config
from bpt_det.engine.precision import Precision
from bpt_det.utils.errors import InputError
from tests.support.detectors import ROOT, shrink, use_shapes

CPU = Precision("cpu", torch.float32)


@pytest.fixture
def cfg():
    return shrink(load_config(str(ROOT / "configs/coco/cascade_bpt_s.py")))


@pytest.fixture
def models(cfg):
    return Models(cfg, "cpu", seed=0)


def build(models, measure, *variants, batch_size=2):
    return build_workloads(models, measure, variants, batch_size, CPU, seed=0)


def test_bare_vit_and_frozen_vit_have_no_step(models):
    assert [w.variant for w in build(models, "forward", "bare", "frozen")] == ["bare", "frozen"]
    assert build(models, "backbone_step", "bare", "frozen") == []
    assert build(models, "train_step", "bare") == build(models, "inference", "bare") == []


def test_a_model_is_built_once(models):
    (forward,) = build(models, "forward", "bpt_s")
    (step,) = build(models, "backbone_step", "bpt_s")
    assert forward.model is step.model is models.detector("bpt_s").backbone.net


def test_a_forward_pass_leaves_no_gradient_and_a_backbone_step_those_of_prompts(models):
    (forward,), (step,) = (build(models, m, "bpt_s") for m in ("forward", "backbone_step"))
    forward.run()
    assert all(p.grad is None for p in forward.model.parameters())
    step.run()
    trained = [name for name, p in step.model.named_parameters() if p.grad is not None]
    assert trained == ["prompted_vit.prompts.0.coeff", "prompted_vit.prompts.0.basis"]


def test_a_training_step_updates_what_is_trained_and_nothing_else(models):
    (step,) = build(models, "train_step", "bpt_d")
    before = {name: p.detach().clone() for name, p in step.model.named_parameters()}
    step.run()
    trained = {name for name, p in step.model.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in step.model.named_parameters() if p.grad is not None}
    for name, parameter in step.model.named_parameters():
        assert name in trained or torch.equal(parameter, before[name]), name
    assert len(step.optimizer.state) == len(trained)
    assert any(not torch.equal(p, before[n]) for n, p in step.model.named_parameters())


def test_inference_takes_a_batch_in_evaluation_mode(models):
    (infer,) = build(models, "inference", "bpt_s", batch_size=3)
    sizes = []
    handle = infer.model.backbone.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    infer.run()
    handle.remove()
    assert infer.batch_size == 3 and sizes == [3] and not infer.model.training


def test_data_loading_maps_some_records(cfg, shapes_root):
    loading = build_data_loading(use_shapes(cfg, shapes_root), seed=0)
    loading.run()
    assert loading.batch_size == 8 and not loading.counts_flops


def test_missing_data_are_refused(cfg, tmp_path):
    cfg.dataloader.train.dataset.update(
        names="nowhere_train", json_file=str(tmp_path / "no.json"), image_root=str(tmp_path)
    )
    with pytest.raises(InputError, match="does not exist"):
        build_data_loading(cfg, seed=0)
