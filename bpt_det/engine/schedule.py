"""The learning-rate schedule as one function of the iteration counts a paper states."""

from collections.abc import Sequence

from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler


def build_multistep_schedule(
    max_iter: int, milestones: Sequence[float], warmup_iters: int, gamma: float = 0.1
) -> WarmupParamScheduler:
    """Linear warm-up, then a constant rate that drops at each milestone.

    Args:
        max_iter: iterations of the whole run, at least 1.
        milestones: ascending fractions of the run, in (0, 1), at which the rate drops.
        warmup_iters: iterations from 0.001 of the rate to all of it; in a run too short for them,
            those before the first milestone.
        gamma: factor of each drop.
    """
    steps = sorted({round(fraction * max_iter) for fraction in milestones} - {0, max_iter})
    values = [gamma**i for i in range(len(steps) + 1)]
    scheduler = MultiStepParamScheduler(values, num_updates=max_iter, milestones=steps)
    first_drop = min([*steps, max_iter])
    warmup_length = min(warmup_iters, first_drop - 1) / max_iter
    return WarmupParamScheduler(scheduler, warmup_factor=0.001, warmup_length=warmup_length)
