"""Devices and number formats by name."""

import pytest
import torch
from detectron2.evaluation import DatasetEvaluator
from omegaconf import OmegaConf

from bpt_det.engine.evaluation import evaluate, evaluation_precision
from bpt_det.engine.precision import (
    Precision,
    computes_bfloat16,
    resolve_device,
    resolve_precision,
)
from bpt_det.utils.errors import InputError


def test_auto_means_float32_on_the_cpu():
    precision = resolve_precision("auto", "cpu")
    assert precision.dtype == torch.float32
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(("has_bfloat16", "dtype"), [(True, "bfloat16"), (False, "float16")])
def test_auto_on_a_gpu_prefers_bfloat16(monkeypatch, has_bfloat16, dtype):
    def is_supported(including_emulation=True):
        return has_bfloat16 or including_emulation  # an emulated bfloat16 is slower than float16

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert resolve_precision("auto", "cuda").dtype == getattr(torch, dtype)


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "avx512_f"])
def test_a_cpu_with_instructions_for_bfloat16_is_known(monkeypatch, name):
    capabilities = {name: True, "avx2": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert computes_bfloat16("cpu") == name.endswith("bf16")
    assert not computes_bfloat16("mps")


def test_an_older_pytorch_does_not_know_what_the_cpu_computes(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not computes_bfloat16("cpu")


def test_bfloat16_computes_matrix_products_in_bfloat16():
    with resolve_precision("bfloat16", "cpu").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_only_float16_scales_the_loss():
    assert not Precision("cpu", torch.bfloat16).grad_scaler().is_enabled()
    assert Precision("cpu", torch.float16).grad_scaler().is_enabled()


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"auto or one of float32, bfloat16, float16, got 'fp8'"):
        resolve_precision("fp8", "cpu")


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


def test_a_gpu_that_is_not_there_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"no GPU is visible; use train.device=cpu\."):
        resolve_device("cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(
        InputError, match=r"train.device must be auto, cpu, cuda or mps, got 'tpu'\."
    ):
        resolve_device("tpu")


class Recording(DatasetEvaluator):
    """Keeps the dtypes of what a model returns."""

    def reset(self):
        self.dtypes = []

    def process(self, inputs, outputs):
        self.dtypes.append(outputs.dtype)

    def evaluate(self):
        return {"task": {"AP": float(len(self.dtypes))}}


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [({}, torch.float32), ({"eval_precision": "bfloat16"}, torch.bfloat16)],
)
def test_an_evaluation_has_a_precision_of_its_own(settings, dtype):
    cfg = OmegaConf.create({"train": {"precision": "float16", **settings}, "dataloader": {}})
    evaluator = Recording()
    results = evaluate(cfg, torch.nn.Linear(3, 2), [torch.ones(1, 3)], evaluators={"": evaluator})
    assert results == {"task": {"AP": 1.0}} and evaluator.dtypes == [dtype]
    assert torch.nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.float32  # afterwards


def test_an_unknown_precision_of_evaluations_is_named():
    cfg = OmegaConf.create({"train": {"eval_precision": "int4"}})
    with pytest.raises(InputError, match="train.eval_precision must be auto or one of float32"):
        evaluation_precision(cfg, "cpu")
