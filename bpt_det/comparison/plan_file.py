"""Plan file: an experiment from the `plan` of a LazyConfig, with errors a user can act on."""

from dataclasses import MISSING, fields
from typing import Any

from detectron2.config import LazyConfig
from omegaconf import DictConfig, OmegaConf

from bpt_det.config.files import config_folder, find_methods, locate_config, read_config
from bpt_det.utils.errors import InputError, check_count, one_line

from .experiment import Experiment, Method, Settings

_COMMANDS = ("train", "train-cls")


def load_experiment(path: str) -> Experiment:
    """Load the `plan` of a LazyConfig file.

    Args:
        path: of the file, or a name such as ``compare/cub``.

    Raises:
        InputError: the file is missing or has no `plan`, or a field of it is missing, unknown or
            out of range.
    """
    file = locate_config(path)
    if file is None:
        raise InputError(f"plan '{path}' does not exist.", hint="plan")
    try:
        plan = read_config(file).get("plan")
    except (AttributeError, TypeError, NameError) as error:
        raise InputError(f"plan '{path}' cannot be loaded: {one_line(error)}") from error
    if not isinstance(plan, DictConfig):
        raise InputError(f"'{path}' has no `plan`.", hint="plan")
    content: Any = OmegaConf.to_container(plan)
    methods = content.pop("methods", None) or {}
    for name, method in methods.items():
        if not isinstance(method, dict):
            raise InputError(f"method {name} of '{path}' must be a dict, got {method!r}.")
    built = [
        _build(
            Method, f"method {name} of '{path}'", {**_default_label(method), **method}, name=name
        )
        for name, method in methods.items()
    ]
    if not built:
        raise InputError(f"'{path}' compares no methods; list them in plan.methods.")
    experiment = _build(Experiment, f"the plan of '{path}'", content, methods=tuple(built))
    _check_values(experiment)
    return experiment


def _check_values(experiment: Experiment) -> None:
    command = experiment.command
    if command not in _COMMANDS:
        raise InputError(f"plan.command must be {' or '.join(_COMMANDS)}, got '{command}'.")
    all_seeds = {"plan.seeds": experiment.seeds} | {
        f"plan.methods.{method.name}.seeds": method.seeds
        for method in experiment.methods
        if method.seeds is not None
    }
    for name, seeds in all_seeds.items():
        if not isinstance(seeds, list) or not seeds or not all(isinstance(s, int) for s in seeds):
            raise InputError(f"{name} must be a list of integers, got {seeds!r}.")
    if experiment.folds is not None:
        check_count("plan.folds", experiment.folds, 2, alternative="None")
    if isinstance(experiment.before, str):
        raise InputError(f"plan.before must be a list of commands, got '{experiment.before}'.")
    grids = {"plan.grid": experiment.grid} | {
        f"plan.methods.{method.name}.grid": method.grid
        for method in experiment.methods
        if method.grid is not None
    }
    for name, grid in grids.items():
        for key, values in grid.items():
            if not isinstance(values, list) or not values:
                raise InputError(
                    f"{name} must hold a list of values for each key, got {values!r} for {key}."
                )
    if experiment.select.endswith("loss"):
        raise InputError(
            f"plan.select must be a metric of which more is better, such as val/top1, got "
            f"'{experiment.select}'."
        )
    names = [method.name for method in experiment.methods]
    for name in experiment.curves:
        if name not in names:
            raise InputError(
                f"plan.curves names {name}, which is none of its methods: {', '.join(names)}."
            )


def _build(kind: type, what: str, content: dict, **more: Any) -> Any:
    known = {field.name: field for field in fields(kind) if field.name not in more}
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise InputError(f"{what} has no '{unknown[0]}'; it may have {', '.join(sorted(known))}.")
    missing = [
        name
        for name, field in known.items()
        if name not in content and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"{what} lacks {', '.join(missing)}.", hint="plan")
    return kind(**content, **more)


def _default_label(method: dict) -> Settings:
    """Return the label of the method that a method of a plan is composed with, if there is one."""
    file = find_methods(config_folder()).get(str(method.get("method")))
    return {} if file is None else {"label": LazyConfig.load(str(file)).method.label}
