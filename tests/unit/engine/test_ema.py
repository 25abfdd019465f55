"""Averages of weights (EMA): the formula, what they hold, and evaluation with them."""

import pytest
import torch
import torch.distributed as dist
from detectron2.config import instantiate
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bpt_det.config import load_config
from bpt_det.engine.ema import Ema
from bpt_det.engine.evaluation import evaluate_with_averages
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 5)).double()


def change(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_averages_follow_the_written_out_formula(model):
    ema = Ema(model, decay=0.9)
    states = [state_of(model)]
    for _ in range(4):
        change(model)
        ema.update()
        states.append(state_of(model))
    for name, average in ema.state_dict().items():
        expected = 0.9**4 * states[0][name]
        for step in range(1, 5):
            expected += 0.1 * 0.9 ** (4 - step) * states[step][name]
        torch.testing.assert_close(average, expected, rtol=1e-12, atol=1e-12)


def test_the_model_gets_its_own_weights_back_bit_for_bit(model):
    ema = Ema(model, decay=0.9)
    change(model)
    ema.update()
    own, averages = state_of(model), {k: v.clone() for k, v in ema.state_dict().items()}
    with ema.in_model():
        assert all(torch.equal(value, averages[k]) for k, value in model.state_dict().items())
    assert all(torch.equal(value, own[k]) for k, value in model.state_dict().items())
    assert all(torch.equal(value, averages[k]) for k, value in ema.state_dict().items())


def test_the_weights_come_back_where_the_evaluation_fails(model):
    ema = Ema(model, decay=0.9)
    change(model)
    own = state_of(model)
    with pytest.raises(KeyError), ema.in_model():
        raise KeyError("of the evaluation")
    assert all(torch.equal(value, own[k]) for k, value in model.state_dict().items())


@pytest.mark.parametrize("frozen", [True, False])
def test_what_is_trained_is_averaged_and_nothing_else(frozen, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    cfg = shrink(load_config("configs/shapes/cascade_bpt_s.py"))
    cfg.model.backbone.net.frozen = frozen
    model = instantiate(cfg.model)
    averages = Ema(model, decay=0.9).state_dict()
    assert averages.keys() == {k for k, p in model.named_parameters() if p.requires_grad}
    assert any(".prompted_vit.vit." in name for name in averages) is not frozen
    assert any(".prompted_vit.prompts." in name for name in averages)


def test_the_running_statistics_of_a_batch_norm_are_averaged_with_the_weights():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    ema = Ema(model, decay=0.9)
    before = state_of(model)
    model(torch.randn(8, 3, dtype=torch.float64))
    ema.update()
    own = state_of(model)
    assert set(ema.state_dict()) == set(own) - {"1.num_batches_tracked"}
    with ema.in_model():
        for name in ("1.running_mean", "1.running_var"):
            expected = 0.9 * before[name] + 0.1 * own[name]
            assert not torch.equal(expected, own[name])
            torch.testing.assert_close(model.state_dict()[name], expected)
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_of_a_model_of_which_nothing_is_trained_nothing_is_averaged(model):
    ema = Ema(model.requires_grad_(False), decay=0.9)
    ema.update()
    assert ema.state_dict() == {}


def test_the_averages_of_a_distributed_model_have_the_names_of_the_model_inside(model, tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/x", rank=0, world_size=1)
    try:
        names = Ema(DistributedDataParallel(model), decay=0.9).state_dict().keys()
    finally:
        dist.destroy_process_group()
    assert names == dict(model.named_parameters()).keys()


def test_averages_are_taken_up_as_they_were(model):
    ema = Ema(model, decay=0.9)
    change(model)
    ema.update()
    other = Ema(model, decay=0.5)
    other.load_state_dict(ema.state_dict())
    assert all(torch.equal(v, ema.state_dict()[k]) for k, v in other.state_dict().items())
    ema.update()  # of these alone
    assert not torch.equal(other.state_dict()["0.bias"], ema.state_dict()["0.bias"])


def test_averages_of_other_parameters_are_refused(model):
    averages = Ema(model, decay=0.9).state_dict()
    model[0].weight.requires_grad_(False)
    with pytest.raises(InputError, match=r"\(ema\) and what is trained here differ in 0.weight; b"):
        Ema(model, decay=0.9).load_state_dict(averages)


def test_both_are_evaluated_each_under_its_name(model, monkeypatch):
    ema = Ema(model, decay=0.9)
    before = model[0].bias[0].item()
    change(model)

    def evaluate(cfg, model, loader, evaluator, suffix, evaluators):
        return {f"val{suffix}": {"bias": model[0].bias[0].item()}}

    monkeypatch.setattr("bpt_det.engine.evaluation.evaluate", evaluate)
    results = evaluate_with_averages({}, model, [], "evaluator", ema)
    expected = {"val": {"bias": model[0].bias[0].item()}, "val_ema": {"bias": before}}
    assert results == expected and before != model[0].bias[0].item()
    assert evaluate_with_averages({}, model, [], "evaluator", None).keys() == {"val"}
