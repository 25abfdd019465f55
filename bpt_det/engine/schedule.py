"""Learning-rate schedules, each one function of the lengths and rates a paper states."""

from collections.abc import Callable, Sequence

from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
)

from bpt_det.utils.errors import InputError


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


def build_cosine_schedule(
    max_iter: int, warmup: float, base_lr: float, final_lr: float = 1e-8
) -> ParamScheduler:
    """Linear warm-up from 0, then half a cosine from the full rate down to ``final_lr``.

    Source: `adjust_learning_rate` of WangYZ1608/BPT@9fc3c78 utils.py, at every iteration. The
    cosine begins where the warm-up ends; under Detectron2's `WarmupParamScheduler` it would have
    begun with the run, and have left the full rate before the warm-up reached it.

    Args:
        max_iter: iterations of the whole run, at least 1.
        warmup: fraction of the run, in [0, 1). One shorter than an iteration is left out, because
            all of it would have the rate 0.
        base_lr: the optimizer's rate, which the multiples returned are of.
        final_lr: rate at the end of the run, in [0, base_lr]. A group of parameters with another
            rate than ``base_lr`` ends at the same fraction of its own.

    Raises:
        InputError: an argument is out of range.
    """
    _refuse_out_of_range("warmup", warmup, "in [0, 1)", lambda value: 0 <= value < 1)
    _refuse_out_of_range("base_lr", base_lr, "above 0", lambda value: value > 0)
    _refuse_out_of_range(
        "final_lr", final_lr, f"in [0, base_lr={base_lr}]", lambda value: 0 <= value <= base_lr
    )
    cosine = CosineParamScheduler(1.0, final_lr / base_lr)
    if warmup < 1 / max_iter:
        return cosine
    return CompositeParamScheduler(
        [LinearParamScheduler(0.0, 1.0), cosine],
        lengths=[warmup, 1 - warmup],
        interval_scaling=["rescaled", "rescaled"],
    )


def _refuse_out_of_range(
    name: str, value: object, allowed: str, is_allowed: Callable[[float], bool]
) -> None:
    if not (isinstance(value, int | float) and is_allowed(value)):
        raise InputError(f"lr_multiplier.{name} must be {allowed}, got {value!r}.")
