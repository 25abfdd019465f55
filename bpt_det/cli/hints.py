"""Next steps after an error: the config key to change and the command to run.

Code below the command line raises `InputError` with the ``parameter`` at fault and a ``hint``;
here they become a key of the user's config and a command in the way in which this one was called.
"""

import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bpt_det.config.loading import load_config
from bpt_det.config.overrides import as_override
from bpt_det.config.tree import has_key, walk
from bpt_det.utils.errors import InputError

from .commands import invocation

STATISTICS_KEY = "train.prompt_statistics"
_MAX_KEYS = 3  # that an error names


@dataclass(frozen=True)
class Context:
    """What is known where an error is explained.

    Args:
        keys: of the config, whose last part is the parameter at fault.
        cfg: the config as loaded from the command line; None: the command takes none.
        args: the parsed command line.
    """

    keys: list[str]
    cfg: DictConfig | None
    args: Namespace

    @property
    def key(self) -> str:
        return self.keys[0] if len(self.keys) == 1 else "KEY"


def _collect_statistics(context: Context) -> str:
    """Return the command that collects the token statistics of this config."""
    command = shlex.split(invocation("stats"))
    if context.cfg is None:
        return f"Collect them: {shlex.join(command)} --config-file FILE"
    config_file, overrides = context.args.config_file, context.args.opts
    command += ["--config-file", config_file, *overrides]
    path = OmegaConf.select(context.cfg, STATISTICS_KEY)
    before = "Collect"
    if path is None:
        name = f"statistics/{Path(config_file).stem}.safetensors"
        command.append(as_override(STATISTICS_KEY, name))
        before = f"Add {shlex.quote(command[-1])} to this command too, and collect"
    elif Path(path).exists():  # that file is never written over
        before = f"Delete that file or name another with {STATISTICS_KEY}=FILE, and collect"
    return f"{before} them: {shlex.join(command)}"


# By the `hint` of an error: the sentence that says what to do next.
HINTS: dict[str, Callable[[Context], str]] = {
    "collect_statistics": _collect_statistics,
    "training_data": lambda _: (
        "Add data.train=PATH to train, or data.val=PATH with --eval-only to evaluate."
    ),
    "datasets": lambda _: (
        "datasets/README.md says where each dataset goes (DETECTRON2_DATASETS names the folder "
        f"that holds them all). {invocation('demo')} needs no data."
    ),
    "check_dataset": lambda _: f"{invocation('check')} lists all faults of a dataset.",
    "resume": lambda _: "Continue with --resume.",
    "max_frames": lambda _: "Add --max-frames N.",
    "repeat": lambda _: "Give the same command again to go on.",
    "shared_memory": lambda _: "A container gets more from docker run --shm-size=8g.",
    "memory": lambda _: f"{invocation('memory')} predicts what a detector takes.",
    "evaluate": lambda _: "--eval-only evaluates without training.",
    "evaluate_last": lambda _: "--eval-only --resume evaluates the last checkpoint.",
    "weights": lambda context: f"Download the weights and pass {context.key}=PATH.",
    "train_classifier": lambda _: f"{invocation('train-cls')} trains and evaluates classifiers.",
    "train_detector": lambda _: f"{invocation('train')} trains and evaluates detectors.",
    "pretrain": lambda _: f"{invocation('pretrain')} pre-trains masked autoencoders.",
    "detection_config": lambda _: "Give a config of detection, such as coco/cascade_bpt_s.",
    "trust": lambda _: "On the command line: --trust PACKAGE.",
    "plan": lambda _: "Plans of the package are compare/cub and others of configs/compare/.",
}
_NAMES_KEY = {"weights"}  # hints that name the config key themselves


def explain(error: InputError, args: Namespace) -> str:
    """Return an error's text with the config key to change and the command to run.

    Args:
        error: what was raised.
        args: the parsed command line; its ``config_file`` and ``opts``, if it has them, are loaded
            once more to find the key.
    """
    if error.parameter is None and error.hint is None:
        return str(error)
    cfg = _load_again(args)
    keys = [] if cfg is None or error.parameter is None else find_keys(cfg, error.parameter)
    text = str(error)
    if cfg is not None and keys:
        text = _with_whole_keys(text, cfg, keys[0], error.parameter)
    sentences = [text if text.endswith((".", "?")) else f"{text}."]
    if keys and error.hint not in _NAMES_KEY:
        sentences.append(f"Config key: {' or '.join(keys[:_MAX_KEYS])}.")
    if error.hint is not None:
        sentences.append(HINTS[error.hint](Context(keys, cfg, args)))
    return " ".join(sentences)


def find_keys(cfg: DictConfig, parameter: str) -> list[str]:
    """Return the dotted keys that end with a parameter's name, such as ``rank`` or ``tuning.rank``.

    Keys that only refer to another one, such as ``${..embed_dim}``, count where there is no other:
    it is what they refer to that can be set, such as ``dataloader.image_size``.
    """
    every = dict(walk(cfg))
    nodes = {key: node for key, node in every.items() if f".{key}".endswith(f".{parameter}")}
    own = [key for key, node in nodes.items() if not node._is_interpolation()]
    return own or list(dict.fromkeys(_follow(key, every) for key in nodes))


def _follow(key: str, nodes: Mapping[str, Any]) -> str:
    """Return the key that a key refers to in the end; one that is more than a reference stays."""
    seen = {key}
    while match := re.fullmatch(r"\$\{(\.*)([\w.]+)\}", str(nodes[key]._value())):
        dots, name = match.groups()
        target = ".".join([*key.split(".")[: -len(dots)], name]) if dots else name
        if target not in nodes or target in seen:
            break
        key = target
        seen.add(key)
    return key


def _with_whole_keys(text: str, cfg: DictConfig, key: str, parameter: str | None) -> str:
    """Return an error's text with the keys of a user's config in place of names of arguments.

    Args:
        text: of the error.
        cfg: the config.
        key: of the argument at fault; those that are to be set stand beside it.
        parameter: name of that argument.
    """
    if parameter is not None and not f".{key}".endswith(f".{parameter}"):  # under another name
        text = re.sub(rf"(?<![\w.]){re.escape(parameter)}\b", lambda _: key, text, count=1)
    before, advice, after = text.rpartition("set ")
    beside = key.rpartition(".")[0]

    def whole(match: re.Match) -> str:
        other = f"{beside}.{match[1]}"
        return f"{other}=" if has_key(cfg, other) else match[0]

    if not advice:
        return text
    return before + advice + re.sub(r"(?<![\w.])(\w+)=(?=\S)", whole, after)


def _load_again(args: Namespace) -> DictConfig | None:
    if not getattr(args, "config_file", ""):
        return None
    try:
        return load_config(args.config_file, getattr(args, "opts", ()))
    except InputError:  # it is what the error is about
        return None
