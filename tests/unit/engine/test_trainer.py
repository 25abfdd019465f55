"""The training step."""

import copy

import pytest
import torch
from torch import nn

from bpt_det.engine import DivergenceError, Trainer
from bpt_det.engine.loaders import position_seed
from bpt_det.engine.precision import Precision
from bpt_det.engine.trainer import check_finite


class Regression(nn.Module):
    """Losses of a linear model, one with a random factor, as sampled proposals have."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, batch):
        error = self.linear(torch.stack(batch)).square().mean()
        return {"loss_error": error, "loss_noise": error * torch.rand(())}


def train(model, batch, iterations, *, seed=5, dtype=torch.float32, lr=0.1):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    endless = [batch] * iterations
    trainer = Trainer(model, endless, optimizer, Precision("cpu", dtype), seed)
    trainer.train(0, iterations)
    return trainer


@pytest.fixture
def batch():
    return [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, 0.5, 2.0])]


def test_a_step_is_gradient_descent_on_the_sum_of_the_losses(batch):
    model = Regression()
    weight = model.linear.weight.detach().clone()
    bias = model.linear.bias.detach().clone()
    train(model, batch, 1, seed=5, lr=0.1)
    torch.manual_seed(position_seed(5, 0))  # seed, batch
    noise_factor = 1 + torch.rand(())
    features = torch.stack(batch)
    error = features @ weight.T + bias
    slope = noise_factor * (2 * error * features).mean(0)
    torch.testing.assert_close(model.linear.weight, weight - 0.1 * slope)


def test_a_step_depends_on_seed_and_iteration_not_on_what_ran_before(batch):
    models = [Regression() for _ in range(3)]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    for model, seed in zip(models, [5, 5, 6], strict=True):
        torch.rand(int(torch.randint(1, 9, ())))
        train(model, batch, 3, seed=seed)
    assert torch.equal(models[0].linear.weight, models[1].linear.weight)
    assert not torch.equal(models[0].linear.weight, models[2].linear.weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_lowers_the_loss_too(batch, dtype):
    model = Regression()
    before = model.linear(torch.stack(batch)).square().mean()
    train(model, batch, 20, dtype=dtype, lr=0.02)
    assert model.linear(torch.stack(batch)).square().mean() < before / 2


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(batch, value):
    model = Regression()
    before = model.linear.weight.detach().clone()
    batch[1][2] = float(value)
    with pytest.raises(DivergenceError, match=r"^loss_error=\w+, loss_noise=\w+ at iteration 0;"):
        train(model, batch, 2)
    assert torch.equal(model.linear.weight, before)


def test_only_the_terms_that_are_not_finite_are_named():
    losses = {"loss_mask": torch.tensor(float("nan")), "loss_cls": torch.tensor(1.0)}
    with pytest.raises(DivergenceError, match=r"^loss_mask=nan at iteration 12; training stop"):
        check_finite(losses, 12)


def test_proposals_that_are_not_finite_are_an_input_error_too(batch):
    class Diverged(Regression):
        def forward(self, batch):
            raise FloatingPointError("Predicted boxes or scores contain Inf/NaN.")

    with pytest.raises(DivergenceError, match=r"RPN's proposals became NaN or infinite at "):
        train(Diverged(), batch, 1)


def test_a_resumed_optimizer_takes_its_settings_from_the_config_and_its_state_from_the_file(batch):
    model = Regression()
    states = []
    for lr in (0.1, 0.02):
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        trainer = Trainer(model, [batch] * 3, optimizer, Precision("cpu", torch.float32), 0)
        if states:
            trainer.load_state_dict(states[0])
            assert optimizer.param_groups[0]["lr"] == 0.02
            assert optimizer.param_groups[0]["initial_lr"] == 0.02
            loaded = optimizer.state_dict()["state"]
            assert torch.equal(loaded[0]["exp_avg"], states[0]["optimizer"]["state"][0]["exp_avg"])
        trainer.train(0, 2)
        states.append(copy.deepcopy(trainer.state_dict()))


def test_a_resumed_float16_run_keeps_the_scale_of_its_losses(batch):
    first, second = (train(Regression(), batch, 2, dtype=torch.float16, lr=1e-6) for _ in range(2))
    state = first.state_dict()
    state["grad_scaler"]["scale"] = 512.0
    second.load_state_dict(state)
    assert second.grad_scaler.get_scale() == 512.0
