"""The learning-rate schedule against the formula, iteration by iteration."""

import pytest

from bpt_det.engine import build_multistep_schedule


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


@pytest.mark.parametrize("max_iter", [1, 2, 3, 20])
def test_a_run_shorter_than_its_warm_up_still_ends_in_the_full_rate_before_the_drop(max_iter):
    schedule = build_multistep_schedule(max_iter, [27 / 37, 33 / 37], warmup_iters=250)
    factors = [schedule(i / max_iter) for i in range(max_iter)]
    assert all(0 < factor <= 1 for factor in factors)
    if max_iter == 20:
        assert factors.index(max(factors)) == round(27 / 37 * 20) - 1 and max(factors) == 1
