"""Gradient clipping to a largest norm."""

import math

import pytest
import torch
from torch import nn

from bpt_det.engine import DivergenceError, Trainer
from bpt_det.engine.precision import Precision


class TwoParts(nn.Module):
    """Two parameter tensors, one of them in a group of its own, and one that is not trained."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0, -1.0], [0.5, 2.0], [1.0, 1.0]]))
        self.bias = nn.Parameter(torch.tensor([0.25, -4.0]))
        self.fixed = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, batch):
        output = batch @ self.weight + self.bias * self.fixed
        return {"loss": output.square().mean()}


BATCH = torch.tensor([[1.0, 2.0, -1.0], [0.5, -3.0, 1.0]])

SCALE = 1024.0  # these gradients times this are still float16 numbers


def step(clip_grad_norm, *, batch=BATCH, dtype=torch.float32, iterations=1):
    """Return the model after plain gradient descent of rate 1, and its trainer."""
    model = TwoParts()
    groups = [{"params": [model.weight]}, {"params": [model.bias]}]
    trainer = Trainer(
        model,
        [batch] * iterations,
        torch.optim.SGD(groups, lr=1.0),
        Precision("cpu", dtype),
        0,
        clip_grad_norm=clip_grad_norm,
    )
    if dtype == torch.float16:
        trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    trainer.train(0, iterations)
    return model, trainer


def gradients():
    model = TwoParts()
    return torch.autograd.grad(model(BATCH)["loss"], [model.weight, model.bias])


def norm_of(tensors):
    return math.sqrt(sum(value**2 for tensor in tensors for value in tensor.flatten().tolist()))


@pytest.mark.parametrize("fraction", [0.3, 1.7])
def test_a_step_uses_the_clipped_gradient_of_all_trained_parameters_together(fraction):
    """torch's formula: times max_norm / (norm + 1e-6), but at most times 1."""
    start, expected = TwoParts(), gradients()
    norm = norm_of(expected)
    limit = fraction * norm
    model, trainer = step(limit)
    factor = min(1.0, limit / (norm + 1e-6))
    torch.testing.assert_close(model.weight, start.weight - factor * expected[0])
    torch.testing.assert_close(model.bias, start.bias - factor * expected[1])
    assert trainer.storage.latest()["grad_norm"][0] == pytest.approx(norm)


def test_without_a_limit_nothing_is_clipped_or_logged():
    model, trainer = step(None)
    torch.testing.assert_close(model.bias, TwoParts().bias - gradients()[1])
    assert "grad_norm" not in trainer.storage.latest()


def test_under_the_float16_scaler_the_norm_is_that_of_the_unscaled_gradient():
    model, trainer = step(0.5, dtype=torch.float16)
    norm = norm_of(gradients())
    assert trainer.storage.latest()["grad_norm"][0] == pytest.approx(norm, rel=1e-2)
    moved = [model.weight - TwoParts().weight, model.bias - TwoParts().bias]
    assert norm_of(moved) == pytest.approx(0.5, rel=1e-2)


def test_a_step_that_the_scaler_skips_has_no_norm_and_moves_nothing():
    """Larger gradients are beyond float16 when scaled; the scaler tries again at half the scale."""
    model, trainer = step(0.5, batch=BATCH * 100, dtype=torch.float16)
    assert "grad_norm" not in trainer.storage.latest()
    assert torch.equal(model.weight, TwoParts().weight)
    assert trainer.grad_scaler.get_scale() == SCALE / 2


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change():
    class Cusp(TwoParts):
        def forward(self, batch):
            return {"loss": (self.weight - TwoParts().weight).square().sum().sqrt()}  # 0, slope NaN

    model = Cusp()
    optimizer = torch.optim.SGD([model.weight], lr=1.0)
    precision = Precision("cpu", torch.float32)
    trainer = Trainer(model, [BATCH], optimizer, precision, 0, clip_grad_norm=1.0)
    with pytest.raises(DivergenceError, match=r"gradient's norm is nan at iteration 0; training"):
        trainer.train(0, 1)
    assert torch.isfinite(model.weight).all()
