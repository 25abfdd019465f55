"""Config checks: required keys, and settings out of range that would fail late or not at all."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from bpt_det.utils.compat import name_of_target
from bpt_det.utils.errors import InputError, check_count, check_positive

from .signatures import TARGET, accepted_types
from .tree import has_key, walk

# What the training loop reads; `model` and the data loaders are built from whatever they hold.
REQUIRED_KEYS = (
    "model",
    "dataloader.train",
    "dataloader.test",
    "dataloader.evaluator",
    "optimizer.params",
    "lr_multiplier",
    "train.output_dir",
    "train.init_checkpoint",
    "train.max_iter",
    "train.eval_period",
    "train.log_period",
    "train.best_metric",
    "train.checkpointer",
    "train.device",
    "train.precision",
    "train.seed",
    "train.ddp",
)

_TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "null",
    list: "a list",
    tuple: "a list",
}

# The smallest value of integers in `train`.
_LEAST = {
    "max_iter": 1,
    "seed": 0,
    "log_period": 1,
    "accumulate_steps": 1,
    "eval_period": 0,
    "checkpointer.period": 1,
}

# Texts in `train` that cannot be empty.
_TEXTS = {
    "output_dir": "the path of a folder",
    "device": "auto, cpu, cuda or mps",
    "precision": "auto, float32, bfloat16 or float16",
}


def check_keys(cfg: DictConfig, path: str) -> None:
    """Check that a config has what every run reads.

    Raises:
        InputError: some keys are missing; all are named.
    """
    missing = [key for key in REQUIRED_KEYS if not has_key(cfg, key)]
    if missing:
        raise InputError(
            f"config file '{path}' lacks {', '.join(missing)}; "
            "import what is missing from configs/common/."
        )


# Arguments of these names are integers of at least 1, and rates in [0, 1).
_COUNTS = {
    *("embed_dim", "num_blocks", "num_heads", "patch_size", "pretrain_size", "prompt_length"),
    *("rank", "num_classes", "image_size", "total_batch_size", "batch_size"),
}
_RATES = {"drop_path_rate", "prompt_dropout"}


def check_config(cfg: DictConfig) -> None:
    """Check the numbers of a config with all its overrides, and match the final test's evaluator.

    Raises:
        InputError: a setting is out of range.
    """
    check_train_settings(cfg.train)
    _check_optimizer_and_loaders(cfg)
    _check_arguments(cfg)
    _match_final_evaluator(cfg)


def _check_arguments(cfg: DictConfig) -> None:
    """Check settings by the names and types of the arguments that they become."""
    for key, node in walk(cfg):
        if isinstance(node, DictConfig):
            if not node._is_interpolation() and not node._is_none() and TARGET in node:
                _check_types(node, key)
                _check_relations(node, key)
            continue
        name, value = key.rpartition(".")[2], node._value()
        if isinstance(node, ListConfig) or node._is_interpolation():
            continue
        if name in _COUNTS:
            check_count(key, value)
        elif name in _RATES:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value < 1:
                raise InputError(f"{key} must be in [0, 1), got {value!r}.")


def _check_types(node: DictConfig, key: str) -> None:
    """Check plain arguments of our own classes and functions against their annotations."""
    if not name_of_target(node[TARGET]).startswith("bpt_det."):
        return
    for name in map(str, node):
        child: Any = node._get_node(name)
        types = accepted_types(node, name)
        if types is None or child is None or child._is_interpolation():
            continue
        if isinstance(child, DictConfig) and not child._is_none():
            continue
        is_list = isinstance(child, ListConfig) and not child._is_none()
        value: Any = list(child) if is_list else child._value()
        kind: Any = type(value)
        is_number = kind is int and float in types
        if not (kind in types or is_number or (is_list and tuple in types)):
            names = " or ".join(sorted(_TYPE_NAMES.get(each, each.__name__) for each in types))
            raise InputError(f"{key}.{name} must be {names}, got {value!r}.")


def _check_relations(node: DictConfig, key: str) -> None:
    """Check sizes that have to fit each other, once they are known."""
    sizes = {name: node.get(name) for name in ("embed_dim", "num_heads", "rank") if name in node}
    if not all(isinstance(size, int) and size > 0 for size in sizes.values()):
        return
    width = sizes.get("embed_dim")
    if width and sizes.get("rank", 1) > width:
        raise InputError(f"{key}.rank must be in [1, embed_dim={width}], got {sizes['rank']}.")
    if width and width % sizes.get("num_heads", 1):
        raise InputError(
            f"{key}.embed_dim={width} is not a multiple of {key}.num_heads={sizes['num_heads']}."
        )


def check_train_settings(settings: DictConfig) -> None:
    """Check the numbers in `train`; keys that older configs lack are fine.

    Raises:
        InputError: a setting is out of range.
    """
    for key, least in _LEAST.items():
        value = OmegaConf.select(settings, key, default=least)
        check_count(f"train.{key}", value, least)
    for key in _TEXTS:
        value = settings.get(key, "auto")
        if not isinstance(value, str) or not value:
            raise InputError(f"train.{key} must be {_TEXTS[key]}, got {value!r}.")
    for key, name in (("early_stopping", "patience"), ("ema", "decay")):
        value = settings.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise InputError(f"train.{key}={value} sets nothing; write train.{key}.{name}={value}.")
    for key in ("reference_batch_size", "early_stopping.patience"):
        value = OmegaConf.select(settings, key)
        if value is not None:
            check_count(f"train.{key}", value, alternative="null (off)")
    norm = settings.get("clip_grad_norm")
    if norm is not None and not (isinstance(norm, int | float) and norm > 0):
        raise InputError(f"train.clip_grad_norm must be above 0, or null (off), got {norm!r}.")
    decay = OmegaConf.select(settings, "ema.decay")
    if decay is not None and not (isinstance(decay, int | float) and 0 < decay < 1):
        raise InputError(
            f"train.ema.decay must be above 0 and below 1, or null (off), got {decay!r}."
        )
    check_positive("train.peer_timeout", settings.get("peer_timeout", 60), "seconds")
    _check_curves(settings.get("curves"))
    hooks = settings.get("hooks")
    if hooks is not None and not isinstance(hooks, ListConfig | list):
        raise InputError(f"train.hooks must be a list of hooks, or null (none), got {hooks!r}.")
    for key in ("precision", "eval_precision"):
        precision = settings.get(key, "auto")
        if precision not in ("auto", "float32", "bfloat16", "float16"):
            raise InputError(f"train.{key} must be {_TEXTS['precision']}, got '{precision}'.")
    mode = settings.get("best_metric_mode", "max")
    if mode not in ("max", "min"):
        raise InputError(f"train.best_metric_mode must be max or min, got '{mode}'.")
    weights = settings.get("final_weights", "best")
    if weights not in ("best", "last"):
        raise InputError(f"train.final_weights must be best or last, got '{weights}'.")
    if OmegaConf.select(settings, "early_stopping.patience") and settings.eval_period < 1:
        raise InputError(
            "train.early_stopping.patience counts evaluations, but train.eval_period="
            f"{settings.eval_period} means none before the end; set a period."
        )


def _check_curves(curves: Any) -> None:
    is_list = isinstance(curves, Sequence) and not isinstance(curves, str)
    if curves is not None and not (is_list and all(isinstance(name, str) for name in curves)):
        raise InputError(
            f"train.curves must be a list of metrics such as [bbox/AP], or null (off), got "
            f"{curves!r}."
        )


def _check_optimizer_and_loaders(cfg: DictConfig) -> None:
    """Check what the optimizer and the loaders would refuse with a traceback, or not at all."""
    for key in ("optimizer.lr", "optimizer.weight_decay"):
        value = OmegaConf.select(cfg, key, default=0)
        if isinstance(value, str | bool) or not 0 <= value < math.inf:
            raise InputError(f"{key} must be a number >= 0, got {value!r}.")
    for loader in ("train", "test", "final_test"):
        key = f"dataloader.{loader}.num_workers"
        check_count(key, OmegaConf.select(cfg, key, default=0), 0)


def _match_final_evaluator(cfg: DictConfig) -> None:
    """Drop the evaluator of a test that is turned off; refuse a test without an evaluator."""
    parts = ("final_test", "final_evaluator")
    final_test, final_evaluator = (OmegaConf.select(cfg, f"dataloader.{part}") for part in parts)
    if final_test is None and final_evaluator is not None:
        cfg.dataloader.final_evaluator = None  # it refers to the data of the test
    if final_test is not None and final_evaluator is None:
        raise InputError(
            "dataloader.final_test needs an evaluator of its data, dataloader.final_evaluator; or "
            "set dataloader.final_test=null for no test at the end of a run."
        )
