"""Learning-rate schedules against their formulas, iteration by iteration."""

import math

import pytest
import torch
from detectron2.solver import LRMultiplier, WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler

from bpt_det.engine.optim import build_cosine_schedule, build_multistep_schedule
from bpt_det.utils.errors import InputError

MAX_ITER, RATE, FINAL = 200, 5e-2, 1e-8


def published_rate(iteration, warmup_iters, rate=RATE, final=FINAL, max_iter=MAX_ITER):
    """`adjust_learning_rate` of WangYZ1608/BPT@9fc3c78 utils.py, in iterations for epochs."""
    if iteration < warmup_iters:
        return rate * iteration / warmup_iters
    done = (iteration - warmup_iters) / (max_iter - warmup_iters)
    return final + (rate - final) * 0.5 * (1 + math.cos(math.pi * done))


def rates_of_a_run(schedule, rates, max_iter=MAX_ITER):
    """Return the rate of each group at each iteration and after the last, by Detectron2."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    optimizer = torch.optim.SGD(groups)
    scheduler = LRMultiplier(optimizer, schedule, max_iter)
    actual = []
    for _ in range(max_iter):
        actual.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return [*actual, [group["lr"] for group in optimizer.param_groups]]


@pytest.mark.parametrize(("warmup", "warmup_iters"), [(0.1, 20), (0.07, 14), (0, 0), (0.005, 1)])
@pytest.mark.parametrize("final", [FINAL, 1e-2])
def test_every_iteration_has_the_published_rate(warmup, warmup_iters, final):
    schedule = build_cosine_schedule(MAX_ITER, warmup, RATE, final)
    actual = rates_of_a_run(schedule, [RATE])
    for iteration, (rate,) in enumerate(actual):
        expected = published_rate(iteration, warmup_iters, final=final)
        assert rate == pytest.approx(expected, rel=1e-9, abs=1e-15), iteration
    assert actual[warmup_iters] == [RATE] and actual[MAX_ITER][0] == pytest.approx(final)


def test_a_slower_group_has_the_same_fraction_of_its_own_rate_down_to_its_own_floor():
    """As `lr_scale` of the published code, which layer-wise decay is."""
    scale = 0.3
    schedule = build_cosine_schedule(MAX_ITER, 0.1, RATE, final_lr=1e-3)
    for iteration, (whole, slower) in enumerate(rates_of_a_run(schedule, [RATE, scale * RATE])):
        expected = published_rate(iteration, 20, final=1e-3)
        assert whole == pytest.approx(expected) and slower == pytest.approx(scale * expected)


def test_the_cosine_begins_after_the_warm_up_and_not_under_it():
    """Under Detectron2's warm-up the cosine runs from the start, and the full rate is not met."""
    detectron2s = WarmupParamScheduler(CosineParamScheduler(1, FINAL / RATE), 0, 0.1)
    assert detectron2s(0.1) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.1)))
    assert detectron2s(0.1) < 0.98
    assert build_cosine_schedule(MAX_ITER, 0.1, RATE)(0.1) == 1


@pytest.mark.parametrize(("max_iter", "warmup"), [(1, 0.1), (1, 0.0), (3, 0.3), (9, 0.1)])
def test_a_warm_up_shorter_than_an_iteration_is_left_out(max_iter, warmup):
    actual = rates_of_a_run(build_cosine_schedule(max_iter, warmup, RATE), [RATE], max_iter)
    expected = [[published_rate(i, 0, max_iter=max_iter)] for i in range(max_iter + 1)]
    for rate, expected_rate in zip(actual, expected, strict=True):
        assert rate == pytest.approx(expected_rate)
    assert actual[0] == [RATE]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"warmup": 1.0}, r"lr_multiplier\.warmup must be in \[0, 1\), got 1\.0\."),
        ({"warmup": -0.1}, r"lr_multiplier\.warmup must be in \[0, 1\), got -0\.1\."),
        ({"warmup": "10%"}, r"lr_multiplier\.warmup must be in \[0, 1\), got '10%'\."),
        ({"base_lr": 0}, r"lr_multiplier\.base_lr must be above 0, got 0\."),
        ({"final_lr": 0.06}, r"lr_multiplier\.final_lr must be in \[0, base_lr=0\.05\], got 0\.06"),
        ({"final_lr": -1e-8}, r"lr_multiplier\.final_lr must be in \[0, base_lr=0\.05\], got -1e"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, text):
    with pytest.raises(InputError, match=text):
        build_cosine_schedule(**{"max_iter": MAX_ITER, "warmup": 0.1, "base_lr": RATE, **settings})


def expected_factor(iteration, max_iter, milestones, warmup_iters):
    """Linear from 0.001 to 1 in the warm-up, else 0.1 per milestone that has been reached."""
    if iteration < warmup_iters:
        return 0.001 + (1 - 0.001) * iteration / warmup_iters
    return 0.1 ** sum(iteration >= round(m * max_iter) for m in milestones)


@pytest.mark.parametrize(("max_iter", "warmup_iters"), [(370, 25), (1000, 250), (40, 1)])
def test_warms_up_and_drops_at_each_milestone(max_iter, warmup_iters):
    milestones = [27 / 37, 33 / 37]
    schedule = build_multistep_schedule(max_iter, milestones, warmup_iters)
    for iteration in range(max_iter):
        expected = expected_factor(iteration, max_iter, milestones, warmup_iters)
        assert schedule(iteration / max_iter) == pytest.approx(expected, rel=1e-9), iteration


def test_the_published_schedule_drops_after_epochs_27_and_33():
    per_epoch = 118_287 / 16
    max_iter = round(37 * per_epoch)
    schedule = build_multistep_schedule(max_iter, [27 / 37, 33 / 37], 250)
    for epoch, factor in [(26.99, 1), (27.01, 0.1), (32.99, 0.1), (33.01, 0.01), (36.99, 0.01)]:
        assert schedule(int(epoch * per_epoch) / max_iter) == pytest.approx(factor)


@pytest.mark.parametrize("milestone", [0, 1, 30, -0.5, float("nan")])
def test_a_milestone_that_is_no_fraction_of_the_run_is_refused(milestone):
    with pytest.raises(InputError, match=r"fractions of the run.*give 0\.75"):
        build_multistep_schedule(100, [0.5, milestone], 10)


@pytest.mark.parametrize("max_iter", [1, 2, 3, 20])
def test_a_run_shorter_than_its_warm_up_still_ends_in_the_full_rate_before_the_drop(max_iter):
    schedule = build_multistep_schedule(max_iter, [27 / 37, 33 / 37], warmup_iters=250)
    factors = [schedule(i / max_iter) for i in range(max_iter)]
    assert all(0 < factor <= 1 for factor in factors)
    if max_iter == 20:
        assert factors.index(max(factors)) == round(27 / 37 * 20) - 1 and max(factors) == 1
