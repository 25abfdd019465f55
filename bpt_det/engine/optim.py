"""Optimizer: parameter groups, learning-rate scaling and schedules."""

import copy
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import instantiate
from detectron2.solver import WarmupParamScheduler
from detectron2.solver.build import get_default_optimizer_params, reduce_param_groups
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
)
from omegaconf import DictConfig
from torch import nn

from bpt_det.utils.errors import InputError

from .protocols import HasParameterDepths, prompted_networks

logger = logging.getLogger(__name__)


def build_optimizer(cfg: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a config over the trained parameters of a model.

    Args:
        cfg: config with `optimizer`, whose ``params`` is called with the model.
        model: what it trains.
    """
    optimizer = copy.deepcopy(cfg.optimizer)
    optimizer.params.model = model
    return instantiate(optimizer)


def scale_learning_rate(
    optimizer: torch.optim.Optimizer, batch_size: int, reference_batch_size: int | None
) -> None:
    """Multiply the rate of every parameter group by batch size / reference batch size, and log it.

    Args:
        optimizer: changed in place.
        batch_size: images of one step of the optimizer, over all processes and parts.
        reference_batch_size: the batch size that the configured rate is meant for; None: any.
    """
    if reference_batch_size is None:
        return
    factor = batch_size / reference_batch_size
    before = max(group["lr"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        group["lr"] *= factor
    logger.info(
        "Learning rate scaled from %g to %g: %d images per iteration, "
        "train.reference_batch_size=%d%s",
        before,
        before * factor,
        batch_size,
        reference_batch_size,
        ""
        if len({group["lr"] for group in optimizer.param_groups}) == 1
        else " (the highest rate)",
    )


def build_param_groups(
    model: nn.Module,
    base_lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_norm: float | None = None,
    layer_decay: float | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    *,
    weight_decay_1d: float | None = None,
    head_weight_decay: float | None = None,
    prompt_lr_factor: float | None = None,
) -> list[dict[str, Any]]:
    """Return an optimizer's parameter groups, one for each pair of rate and weight decay.

    Detectron2's `get_default_optimizer_params` decides what a norm is. Of the weight decays the
    first that fits counts: ``overrides``; ``weight_decay_1d``; ``head_weight_decay``; 0 for a ViT's
    positions and class token, as in ViTDet, and for tuning that has none (`TuningMethod`);
    ``weight_decay_norm``; ``weight_decay``.

    With ``layer_decay``, a trained ViT of L blocks learns the slower the nearer to the image:
    depth d of its `parameter_depths` has the rate ``base_lr * layer_decay ** (L + 1 - d)``.
    Everything else has ``base_lr``.

    Args:
        model: its parameters that require a gradient are in exactly one group each.
        base_lr: rate of every group; None leaves it to the optimizer.
        weight_decay: None leaves it to the optimizer.
        weight_decay_norm: of the parameters of norms; None: as of all others.
        layer_decay: in (0, 1]; None: the same rate for all.
        overrides: settings by a parameter's own name, as ``{"bias": {"weight_decay": 0.0}}``.
        weight_decay_1d: of biases and all else of one dimension, as in WangYZ1608/BPT@9fc3c78
            utils.py (there 0); None: as of all others.
        head_weight_decay: of the head of a classifier, its module ``head``; None: as of all others.
        prompt_lr_factor: the rate of prompts as a multiple of what it would be without; None: 1.

    Raises:
        InputError: ``layer_decay`` or ``prompt_lr_factor`` is out of range or lacks a ``base_lr``,
            a weight decay is below 0, or there is no head for ``head_weight_decay``.
    """
    _check_layer_decay(layer_decay, base_lr)
    _check_prompt_lr_factor(prompt_lr_factor, base_lr)
    overrides = {name: dict(settings) for name, settings in (overrides or {}).items()}
    rates: dict[nn.Parameter, float] = {}
    if base_lr is not None and layer_decay is not None:
        rates |= _layer_rates(model, base_lr, layer_decay)
    if base_lr is not None and prompt_lr_factor is not None:
        rates |= {p: rates.get(p, base_lr) * prompt_lr_factor for p in _prompts(model)}
    decays = _special_weight_decays(model, weight_decay_1d, head_weight_decay)
    own_names = {parameter: name.split(".")[-1] for name, parameter in model.named_parameters()}
    groups = get_default_optimizer_params(
        model, base_lr, weight_decay, weight_decay_norm, overrides=overrides
    )
    special = {parameter: {"lr": rate} for parameter, rate in rates.items()}
    for parameter, decay in decays.items():
        special.setdefault(parameter, {})["weight_decay"] = decay
    single = [
        {**group, "params": [p], **special.get(p, {}), **overrides.get(own_names[p], {})}
        for group in groups
        for p in group["params"]
    ]
    return reduce_param_groups(single)


def _check_layer_decay(layer_decay: float | None, base_lr: float | None) -> None:
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise InputError(f"optimizer.params.layer_decay must be in (0, 1], got {layer_decay}.")
    if layer_decay is not None and base_lr is None:
        raise InputError("optimizer.params.layer_decay needs a base_lr; set it to '${..lr}'.")


def _check_prompt_lr_factor(factor: float | None, base_lr: float | None) -> None:
    if factor is None:
        return
    name = "optimizer.params.prompt_lr_factor"
    if not (isinstance(factor, int | float) and factor > 0):
        raise InputError(f"{name} must be > 0, or null, got {factor}.")
    if base_lr is None:
        raise InputError(f"{name} needs a base_lr; set it to '${{..lr}}'.")


def _special_weight_decays(
    model: nn.Module, of_1d: float | None, of_head: float | None
) -> dict[nn.Parameter, float]:
    """Return the weight decay of each parameter that does not have that of Detectron2's rules."""
    for name, decay in (("weight_decay_1d", of_1d), ("head_weight_decay", of_head)):
        if decay is not None and not (isinstance(decay, int | float) and decay >= 0):
            raise InputError(f"optimizer.params.{name} must be >= 0, or null, got {decay}.")
    if of_head is not None and not any(name == "head" for name, _ in model.named_children()):
        raise InputError(
            f"optimizer.params.head_weight_decay={of_head} is for a module `head` of the model, "
            f"but {type(model).__name__} has none; set it to null."
        )
    decays = dict.fromkeys(_positions_and_class_tokens(model) | _undecayed_tuning(model), 0.0)
    for name, parameter in model.named_parameters():
        is_1d = parameter.ndim <= 1 or name.split(".")[-1] == "bias"
        if of_1d is not None and is_1d:
            decays[parameter] = of_1d
        elif of_head is not None and name.startswith("head."):
            decays[parameter] = of_head
    return decays


def _layer_rates(model: nn.Module, base_lr: float, layer_decay: float) -> dict[nn.Parameter, float]:
    """Return the rate of each parameter of the ViTs in a model."""
    return {
        parameter: base_lr * layer_decay ** (len(vit.blocks) + 1 - depth)
        for vit, depths in _vits(model)
        for parameter, depth in depths.items()
    }


def _positions_and_class_tokens(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that a ViT holds itself, outside its blocks and layers."""
    return {p for vit, _ in _vits(model) for p in vit.parameters(recurse=False)}


def _undecayed_tuning(model: nn.Module) -> set[nn.Parameter]:
    methods = (network.tuning for _, network in prompted_networks(model))
    undecayed = (method for method in methods if method and not method.has_weight_decay)
    return {parameter for method in undecayed for parameter in method.parameters()}


def _prompts(model: nn.Module) -> set[nn.Parameter]:
    return {p for _, network in prompted_networks(model) for p in network.prompts.parameters()}


def _vits(model: nn.Module) -> Iterator[tuple[Any, dict[nn.Parameter, int]]]:
    """Yield each ViT in a model that has parameter depths, with these."""
    prompted = {id(network): network.vit for _, network in prompted_networks(model)}
    for module in model.modules():
        if isinstance(module, HasParameterDepths):
            yield prompted.get(id(module), module), module.parameter_depths()


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

    Raises:
        InputError: a milestone is no fraction of the run.
    """
    for milestone in milestones:
        if not 0 < milestone < 1:
            raise InputError(
                "lr_multiplier.milestones are fractions of the run, between 0 and 1, got "
                f"{milestone}; give 0.75 for three quarters of train.max_iter."
            )
    steps = sorted({round(fraction * max_iter) for fraction in milestones} - {0, max_iter})
    values = [gamma**i for i in range(len(steps) + 1)]
    scheduler = MultiStepParamScheduler(values, num_updates=max_iter, milestones=steps)
    first_drop = min([*steps, max_iter])
    warmup_length = min(warmup_iters, first_drop - 1) / max_iter
    return WarmupParamScheduler(scheduler, warmup_factor=0.001, warmup_length=warmup_length)


class _Stepped(ParamScheduler):
    """A schedule that changes at the beginning of each of ``num_steps`` equal parts of the run."""

    def __init__(self, scheduler: ParamScheduler, num_steps: float) -> None:
        self.scheduler = scheduler
        self.num_steps = num_steps

    def __call__(self, where: float) -> float:
        return self.scheduler(math.floor(where * self.num_steps + 1e-6) / self.num_steps)


def build_cosine_schedule(
    max_iter: int,
    warmup: float,
    base_lr: float,
    final_lr: float = 1e-8,
    num_steps: float | None = None,
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
        num_steps: parts of the run with one rate each, that of their beginning, as in
            KMnP/vpt@4410440 src/solver/lr_scheduler.py, where they are epochs and the first has
            the rate 0. None: another rate at every iteration.

    Raises:
        InputError: an argument is out of range.
    """
    if num_steps is not None:
        _check_range("num_steps", num_steps, "above 0, or null", lambda value: value > 0)
    _check_range("warmup", warmup, "in [0, 1)", lambda value: 0 <= value < 1)
    _check_range("base_lr", base_lr, "above 0", lambda value: value > 0)
    _check_range(
        "final_lr", final_lr, f"in [0, base_lr={base_lr}]", lambda value: 0 <= value <= base_lr
    )
    cosine = CosineParamScheduler(1.0, final_lr / base_lr)
    schedule: ParamScheduler = cosine
    if warmup >= 1 / max_iter:
        schedule = CompositeParamScheduler(
            [LinearParamScheduler(0.0, 1.0), cosine],
            lengths=[warmup, 1 - warmup],
            interval_scaling=["rescaled", "rescaled"],
        )
    return schedule if num_steps is None else _Stepped(schedule, num_steps)


def _check_range(
    name: str, value: object, allowed: str, is_allowed: Callable[[float], bool]
) -> None:
    if not (isinstance(value, int | float) and is_allowed(value)):
        raise InputError(f"lr_multiplier.{name} must be {allowed}, got {value!r}.")
