"""What each trained parameter learns with: layer-wise rates, and which ones are not decayed."""

from collections.abc import Iterator, Mapping
from typing import Any

from detectron2.solver.build import get_default_optimizer_params, reduce_param_groups
from torch import nn

from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT


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
    positions and class token, as in ViTDet; ``weight_decay_norm``; ``weight_decay``.

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
    _refuse_bad_layer_decay(layer_decay, base_lr)
    _refuse_bad_prompt_lr_factor(prompt_lr_factor, base_lr)
    overrides = {name: dict(settings) for name, settings in (overrides or {}).items()}
    rates = {} if layer_decay is None else _layer_rates(model, base_lr, layer_decay)
    if prompt_lr_factor is not None:
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


def _refuse_bad_layer_decay(layer_decay: float | None, base_lr: float | None) -> None:
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise InputError(f"optimizer.params.layer_decay must be in (0, 1], got {layer_decay}.")
    if layer_decay is not None and base_lr is None:
        raise InputError("optimizer.params.layer_decay needs a base_lr; set it to '${..lr}'.")


def _refuse_bad_prompt_lr_factor(factor: float | None, base_lr: float | None) -> None:
    if factor is None:
        return
    name = "optimizer.params.prompt_lr_factor"
    if not (isinstance(factor, int | float) and factor > 0):
        raise InputError(f"{name} must be above 0, or null, got {factor}.")
    if base_lr is None:
        raise InputError(f"{name} needs a base_lr; set it to '${{..lr}}'.")


def _special_weight_decays(
    model: nn.Module, of_1d: float | None, of_head: float | None
) -> dict[nn.Parameter, float]:
    """Return the weight decay of each parameter that a rule of ours decides about."""
    for name, decay in (("weight_decay_1d", of_1d), ("head_weight_decay", of_head)):
        if decay is not None and not (isinstance(decay, int | float) and decay >= 0):
            raise InputError(f"optimizer.params.{name} must be 0 or more, or null, got {decay}.")
    if of_head is not None and not any(name == "head" for name, _ in model.named_children()):
        raise InputError(
            f"optimizer.params.head_weight_decay={of_head} is for a module `head` of the model, "
            f"but {type(model).__name__} has none; set it to null."
        )
    decays = dict.fromkeys(_positions_and_class_tokens(model), 0.0)
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
    """Return what a ViT holds itself, outside its blocks and layers."""
    return {p for vit, _ in _vits(model) for p in vit.parameters(recurse=False)}


def _prompts(model: nn.Module) -> set[nn.Parameter]:
    vits = [module for module in model.modules() if isinstance(module, PromptedViT)]
    return {p for vit in vits for p in vit.prompts.parameters()}


def _vits(model: nn.Module) -> Iterator[tuple[nn.Module, dict[nn.Parameter, int]]]:
    """Yield each ViT in a model that says how deep its parameters lie, and these depths."""
    for module in model.modules():
        if hasattr(module, "parameter_depths"):
            vit = module.vit if isinstance(module, PromptedViT) else module
            yield vit, module.parameter_depths()
