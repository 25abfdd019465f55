"""Gradient accumulation: several batches in one optimizer step."""

import contextlib
import itertools

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bpt_det.engine import DivergenceError, Trainer
from bpt_det.engine.loaders import position_seed
from bpt_det.engine.precision import Precision
from tests.support.processes import run_in_two_processes

SEED = 5


class NoisyRegression(nn.Module):
    """Losses of a linear model, one with a random factor, as sampled proposals have."""

    def __init__(self, noise=1.0):
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.noise = noise

    def forward(self, batch):
        error = self.linear(batch).square().mean()
        return {"loss_error": error, "loss_noise": self.noise * error * torch.rand(())}


def batches(count, batch_size=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch_size, 3, generator=generator) for _ in range(count)]


class KeptGradients(Trainer):
    """Keeps the gradient of each step."""

    def __init__(self, model, data, *, dtype=torch.float32, lr=0.0, **kwargs):
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        super().__init__(model, data, optimizer, Precision("cpu", dtype), SEED, **kwargs)
        self.gradients = []
        optimizer.register_step_pre_hook(self.keep)

    def keep(self, *_):
        self.gradients.append([p.grad.clone() for p in self.model.parameters()])


def gradient(model, losses):
    """By autograd alone: what no accumulation, scaler or hook has touched."""
    return torch.autograd.grad(sum(losses), list(model.parameters()))


def test_a_step_takes_the_mean_of_the_gradients_of_its_parts():
    model, data = NoisyRegression().double(), [b.double() for b in batches(6)]
    trainer = KeptGradients(model, data, accumulate_steps=3)
    trainer.train(0, 2)
    for step, kept in enumerate(trainer.gradients):
        parts = []
        for position in range(3 * step, 3 * step + 3):
            torch.manual_seed(position_seed(SEED, position))
            parts.append(gradient(model, model(data[position]).values()))
        expected = [sum(part[i] for part in parts) / 3 for i in range(2)]
        torch.testing.assert_close(kept, expected)


def test_parts_equal_one_big_batch_for_a_loss_that_is_a_mean_over_samples():
    model, data = NoisyRegression(noise=0.0).double(), [b.double() for b in batches(3)]
    trainer = KeptGradients(model, data, accumulate_steps=3)
    trainer.train(0, 1)
    expected = gradient(model, model(torch.cat(data)).values())
    torch.testing.assert_close(trainer.gradients[0], list(expected))


def test_the_logged_losses_are_the_means_over_the_parts():
    model, data = NoisyRegression(noise=0.0), batches(3)
    trainer = KeptGradients(model, data, accumulate_steps=3)
    trainer.train(0, 1)
    logged, _ = trainer.storage.latest()["loss_error"]
    assert logged == pytest.approx(sum(model(b)["loss_error"].item() for b in data) / 3)


@pytest.mark.parametrize("bad_part", [0, 2])
def test_a_loss_of_any_part_that_is_not_finite_changes_nothing(bad_part):
    model, data = NoisyRegression(), batches(3)
    data[bad_part][1, 2] = float("nan")
    before = [p.detach().clone() for p in model.parameters()]
    trainer = KeptGradients(model, data, accumulate_steps=3, lr=0.1)
    with pytest.raises(DivergenceError, match=r"^loss_error=nan, loss_noise=nan at iteration 0"):
        trainer.train(0, 1)
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert trainer.gradients == []


def test_the_float16_scaler_takes_one_step_with_the_unscaled_mean():
    model, data = NoisyRegression(noise=0.0), batches(4)
    before = [p.detach().clone() for p in model.parameters()]
    expected = gradient(model, model(torch.cat(data)).values())
    trainer = KeptGradients(model, data, accumulate_steps=4, dtype=torch.float16, lr=1.0)
    trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=1)
    trainer.train(0, 1)
    moved = [old - new for old, new in zip(before, model.parameters(), strict=True)]
    torch.testing.assert_close(moved, list(expected), rtol=1e-2, atol=1e-3)
    assert trainer.grad_scaler.get_scale() == 512.0  # grown once, after one step


@contextlib.contextmanager
def a_group_of_one(tmp_path):
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("accumulate_steps", [1, 3])
def test_processes_exchange_gradients_once_a_step(tmp_path, accumulate_steps):
    exchanges = itertools.count()

    def count(state, bucket):
        next(exchanges)
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    with a_group_of_one(tmp_path):
        model = DistributedDataParallel(NoisyRegression(noise=0.0))
        model.register_comm_hook(None, count)
        data = batches(2 * accumulate_steps)
        trainer = KeptGradients(model, data, accumulate_steps=accumulate_steps)
        trainer.train(0, 2)
        plain = model.module
    assert next(exchanges) == 2
    expected = gradient(plain, plain(torch.cat(data[accumulate_steps:])).values())
    torch.testing.assert_close(trainer.gradients[1], list(expected))


def work(rank, folder):
    """One of two processes, with every second batch; two parts a step."""
    model = NoisyRegression(noise=0.0)
    model.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    trainer = KeptGradients(DistributedDataParallel(model), batches(4)[rank::2], accumulate_steps=2)
    trainer.train(0, 1)
    torch.save(trainer.gradients[0], folder / f"{rank}.pth")


def test_two_processes_of_two_parts_take_the_mean_over_all_four(tmp_path):
    model = NoisyRegression(noise=0.0)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    run_in_two_processes(work, tmp_path, tmp_path)
    expected = gradient(model, model(torch.cat(batches(4))).values())
    for rank in range(2):
        kept = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        torch.testing.assert_close(kept, list(expected))
