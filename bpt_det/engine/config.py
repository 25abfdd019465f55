"""Reading a LazyConfig and its overrides, with errors a user can act on."""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import LazyConfig
from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from bpt_det.utils.errors import InputError, one_line

from .best_metric import BestMetric

# Fits a loaded config in place to what a user has asked for, given the config and its overrides.
Adapt = Callable[[DictConfig, Sequence[str]], None]

# What the training loop reads; `model` and the data loaders are built from whatever they hold.
REQUIRED_KEYS = (
    *("model", "dataloader.train", "dataloader.test", "dataloader.evaluator"),
    *("optimizer.params", "lr_multiplier"),
    *(
        f"train.{key}"
        for key in (
            *("output_dir", "init_checkpoint", "max_iter", "eval_period", "log_period"),
            *("best_metric", "checkpointer", "device", "precision", "seed", "ddp"),
        )
    ),
)

# The smallest value of whole numbers in `train`.
_LEAST = {
    **{"max_iter": 1, "seed": 0, "log_period": 1, "accumulate_steps": 1},
    **{"eval_period": 0, "checkpointer.period": 1},
}


def load_config(path: str, overrides: Sequence[str] = (), adapt: Adapt | None = None) -> DictConfig:
    """Load a LazyConfig file and apply ``key=value`` overrides.

    Args:
        path: a ``.py`` config, or the ``config.yaml`` that a run has written.
        overrides: ``key=value`` changes a key that exists, ``+key=value`` adds one.
        adapt: called with the config and the overrides after these have been applied.

    Raises:
        InputError: the file is missing, is no config or lacks a required key, or an override is
            malformed or names no key.
    """
    if not path:
        raise InputError(
            "no config given; pass --config-file FILE, for instance one of the folder configs/."
        )
    if not Path(path).is_file():
        problem = "is no file" if Path(path).exists() else "does not exist"
        raise InputError(f"config file '{path}' {problem}; see the folder configs/.")
    try:
        cfg = LazyConfig.load(path)
    except SyntaxError as error:
        raise InputError(f"config file '{path}' is not valid Python: {error.__cause__}.") from error
    except (ValueError, ImportError, OSError, YAMLError) as error:
        raise InputError(f"config file '{path}' cannot be loaded: {one_line(error)}") from error
    missing = [key for key in REQUIRED_KEYS if not _exists(cfg, key)]
    if missing:
        raise InputError(
            f"config file '{path}' lacks {', '.join(missing)}; configs/common/ has what a config "
            "needs, to import."
        )
    apply_overrides(cfg, overrides)
    if adapt is not None:
        adapt(cfg, overrides)
    refuse_bad_settings(cfg.train)
    _refuse_bad_numbers(cfg)
    _fit_final_test(cfg)
    return cfg


def refuse_bad_settings(settings: DictConfig) -> None:
    """Check the numbers in `train`; keys that older configs lack are fine.

    Raises:
        InputError: one is out of range.
    """
    for key, least in _LEAST.items():
        value = OmegaConf.select(settings, key, default=least)
        if not isinstance(value, int) or value < least:
            raise InputError(f"train.{key} must be a whole number from {least} on, got {value!r}.")
    for key, name in (("early_stopping", "patience"), ("ema", "decay")):
        value = settings.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise InputError(f"train.{key}={value} sets nothing; write train.{key}.{name}={value}.")
    for key in ("reference_batch_size", "early_stopping.patience"):
        value = OmegaConf.select(settings, key)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InputError(
                f"train.{key} must be a whole number from 1 on, or null (off), got {value!r}."
            )
    norm = settings.get("clip_grad_norm")
    if norm is not None and not (isinstance(norm, int | float) and norm > 0):
        raise InputError(f"train.clip_grad_norm must be above 0, or null (off), got {norm!r}.")
    decay = OmegaConf.select(settings, "ema.decay")
    if decay is not None and not (isinstance(decay, int | float) and 0 < decay < 1):
        raise InputError(
            f"train.ema.decay must be above 0 and below 1, or null (off), got {decay!r}."
        )
    _refuse_bad_curves(settings.get("curves"))
    hooks = settings.get("hooks")
    if hooks is not None and not isinstance(hooks, ListConfig | list):
        raise InputError(f"train.hooks must be a list of hooks, or null (none), got {hooks!r}.")
    BestMetric(settings.best_metric, settings.get("best_metric_mode", "max"))
    if OmegaConf.select(settings, "early_stopping.patience") and settings.eval_period < 1:
        raise InputError(
            "train.early_stopping.patience counts evaluations, but train.eval_period="
            f"{settings.eval_period} means none before the end; set a period."
        )


def _refuse_bad_curves(curves: Any) -> None:
    is_list = isinstance(curves, Sequence) and not isinstance(curves, str)
    if curves is not None and not (is_list and all(isinstance(name, str) for name in curves)):
        raise InputError(
            f"train.curves must be a list of metrics such as [bbox/AP], or null (off), got "
            f"{curves!r}."
        )


def find_vit_owner(cfg: DictConfig) -> tuple[str, DictConfig]:
    """Return the one part of a config's model that has a ``vit`` beside it: dotted key and node.

    Beside the ``vit`` are the settings of what is built around it, such as ``prompt``,
    ``placement`` and ``statistics``.

    Raises:
        InputError: the model has no ``vit``, or several.
    """
    owners = list(find_vit_owners(cfg))
    if len(owners) != 1:
        names = f" ({', '.join(key for key, _ in owners)})" if owners else ""
        raise InputError(
            f"the config's model needs one part with a `vit`, but has {len(owners)}{names}; the "
            "configs in configs/ show how a model is built around one."
        )
    return owners[0]


def find_vit_owners(cfg: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """Yield every part of a config's model that has a ``vit`` beside it: dotted key and node."""
    for key, node in (("model", cfg.model), *_nodes(cfg.model, "model.")):
        if _has_children(node) and isinstance(node, DictConfig):
            if OmegaConf.is_config(node.get("vit")):
                yield key, node


def _fit_final_test(cfg: DictConfig) -> None:
    """Drop the evaluator of a test that is turned off; refuse a test without one."""
    parts = ("final_test", "final_evaluator")
    final_test, final_evaluator = (OmegaConf.select(cfg, f"dataloader.{part}") for part in parts)
    if final_test is None and final_evaluator is not None:
        cfg.dataloader.final_evaluator = None  # it refers to the data of the test
    if final_test is not None and final_evaluator is None:
        raise InputError(
            "dataloader.final_test needs an evaluator of its data, dataloader.final_evaluator; or "
            "set dataloader.final_test=null for no test at the end of a run."
        )


def _refuse_bad_numbers(cfg: DictConfig) -> None:
    """Refuse what the optimizer and the loaders would refuse with a traceback, or not at all."""
    for key in ("optimizer.lr", "optimizer.weight_decay"):
        value = OmegaConf.select(cfg, key, default=0)
        if isinstance(value, str | bool) or not 0 <= value < math.inf:
            raise InputError(f"{key} must be a number from 0 on, got {value!r}.")
    for loader in ("train", "test", "final_test"):
        key = f"dataloader.{loader}.num_workers"
        value = OmegaConf.select(cfg, key, default=0)
        if not isinstance(value, int) or value < 0:
            raise InputError(f"{key} must be a whole number from 0 on, got {value!r}.")


def apply_overrides(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Apply overrides to a config in place; a key that does not exist needs a leading ``+``.

    Raises:
        InputError: an override is not ``key=value``, or its key does not exist; the nearest real
            key is named.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip("+ "):
            raise InputError(f"override '{override}' is not of the form key=value.")
        is_addition = key.startswith("+")
        key = key.lstrip("+").strip()
        if not is_addition and not _exists(cfg, key):
            near = difflib.get_close_matches(
                key, [name for name, _ in _nodes(cfg)], n=1, cutoff=0.0
            )
            raise InputError(
                f"override '{override}': the config has no key '{key}'; did you mean "
                f"'{near[0]}'? To add a new key write '+{key}={value}'."
            )
        try:
            LazyConfig.apply_overrides(cfg, [f"{key}={value}"])
        except (OmegaConfBaseException, KeyError, IndexError) as error:
            raise InputError(
                f"override '{override}' cannot be applied ({one_line(error)}); write a list in "
                "brackets, as in key=[0,3], and quote a text that holds commas."
            ) from error
        except Exception as error:  # hydra's parser has an exception type per grammar rule
            if type(error).__module__.startswith("hydra"):
                raise InputError(
                    f"override '{override}' cannot be parsed; quote the value, as in "
                    f"{key}='\"{value}\"'."
                ) from error
            raise
    return cfg


def as_override(key: str, value: object) -> str:
    """Return ``key=value``, quoted where a plain text would be parsed, as a path with a comma."""
    text = str(value)
    if not re.fullmatch(r"[\w./-]+", text):
        text = "'" + text.replace("'", r"\'") + "'"
    return f"{key}={text}"


def _exists(cfg: DictConfig, key: str) -> bool:
    node = cfg
    for part in key.split("."):
        if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        elif isinstance(node, DictConfig) and part in node:
            node = node._get_node(part)
        else:
            return False
        if OmegaConf.is_config(node) and node._is_interpolation():
            node = node._dereference_node()
    return True


def _nodes(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[tuple[str, Node]]:
    """Yield every dotted key of a config with what is there, interpolations as they are."""
    for name in node.keys() if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(name)
        yield f"{prefix}{name}", child
        if _has_children(child):
            yield from _nodes(child, f"{prefix}{name}.")


def _has_children(node: Node) -> bool:
    return OmegaConf.is_config(node) and not node._is_none() and not node._is_interpolation()
