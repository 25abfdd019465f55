"""Overrides: ``key=value`` from a command line, applied to a config.

The value of a key that holds text, such as a path, is that text: ``007``, ``1e3`` and ``a (1)``
need no quotes. Other values are parsed by hydra's grammar: numbers, true, null, lists, mappings.
"""

import copy
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.config import LazyConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bpt_det.utils.errors import InputError, one_line
from bpt_det.utils.package import config_folder

from .signatures import TARGET, accepted_types, accepts
from .tree import has_key, walk

# Keys that hold the path of a file or a folder, or where data are.
_PATHS = re.compile(
    r"(?:.*\.)?(?:checkpoint|init_checkpoint|prompt_statistics|output_dir|cache_dir|root|json_file"
    r"|image_root)|data(?:\.(?:train|val|test|name))?|train\.hooks\.\d+\.path"
)
_NULL_PATHS = re.compile(r"(?!train\.output_dir$|data\.name$|data$)(?!.*\.output_dir$).*")
_NULL_TEXTS = re.compile(r"train\.best_metric|dataloader\.\w+\.dataset\.names")
# Parts of `dataloader` that a config may lack and the engine reads.
_OPTIONAL = {
    "data": ("name", "train", "val"),
    "dataloader": ("final_test", "final_evaluator", "feature_cache", "evaluator"),
}


def apply_overrides(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Apply overrides to a config in place; a key that does not exist needs a leading ``+``.

    Raises:
        InputError: an override is not ``key=value``, its key does not exist (the nearest real key
            is named) or is read by nothing, or it refers to what does not exist.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip("+ "):
            raise InputError(f"override '{override}' is not of the form key=value.")
        is_addition = key.startswith("+")
        key = key.lstrip("+").strip()
        if not is_addition and not has_key(cfg, key):
            raise InputError(
                f"override '{override}': the config has no key '{key}'; did you mean "
                f"'{_nearest(cfg, key)}'? To add a new key write '+{key}={value}'."
            )
        held = _held(cfg, key)
        _apply(cfg, key, value, override)
        if isinstance(held, DictConfig) and TARGET in held:
            _check_still_builds(_held(cfg, key), key, override)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+").strip()
        if override.startswith("+"):
            _check_is_read(cfg, key, override)
        if "${" in override:
            check_references(cfg, key)
    return cfg


def as_override(key: str, value: object) -> str:
    """Return ``key=value``, quoted where a plain text would be parsed, as a path with a comma."""
    text = str(value)
    if not re.fullmatch(r"[\w./-]+", text):  # backslashes before a quote are escapes, others none
        text = "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (m[2] and r"\'"), text) + "'"
    return f"{key}={text}"


def check_references(cfg: DictConfig, key: str | None = None) -> None:
    """Check that what refers to other keys, as ``${train.seed}``, finds them.

    Args:
        cfg: the config.
        key: that is checked; None: all.

    Raises:
        InputError: a key refers to one that does not exist, or to itself.
    """
    for name, node in walk(cfg):
        if (key is None or name == key or name.startswith(f"{key}.")) and node._is_interpolation():
            try:
                node._dereference_node()
            except (OmegaConfBaseException, RecursionError) as error:
                reason = one_line(error).partition(" full_key:")[0]
                raise InputError(
                    f"{name}={node._value()} refers to what the config does not have ({reason}); "
                    "write the key of another setting, or a value."
                ) from error


def _nearest(cfg: DictConfig, key: str) -> str:
    names = [name for name, _ in walk(cfg)]
    return difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]


def _apply(cfg: DictConfig, key: str, value: str, override: str) -> None:
    is_path = _PATHS.fullmatch(key) is not None
    try:
        if "~" not in key and (is_path or _holds_text(cfg, key, value)):
            content = _read_text(cfg, key, value, is_path=is_path)
            OmegaConf.update(cfg, key, content, merge=False, force_add=True)
        else:
            LazyConfig.apply_overrides(cfg, [f"{key}={value}"])
    except Exception as error:  # hydra's parser has an exception type per grammar rule
        if type(error).__module__.startswith("hydra"):
            raise InputError(
                f"override '{override}' cannot be parsed; quote the value, as in "
                f"{key}='\"{value}\"'."
            ) from error
        raise InputError(
            f"override '{override}' cannot be applied ({one_line(error)}); write a list in "
            "brackets, as in key=[0,3], and quote a text that holds commas."
        ) from error


def _check_still_builds(value: Any, key: str, override: str) -> None:
    """Check that what is built from settings is left out, or settings again.

    Raises:
        InputError: it is a text or a number, such as "None".
    """
    if value is not None and not isinstance(value, DictConfig):
        raise InputError(
            f"override '{override}': {key} is built from settings of its own, and {value!r} is "
            f"none; write {key}=null to leave it out, or set one of its settings, {key}.KEY=VALUE."
        )


def _held(cfg: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None


def _parent(cfg: DictConfig, key: str) -> Any:
    parent = key.rpartition(".")[0]
    return _held(cfg, parent) if parent else cfg


def _holds_text(cfg: DictConfig, key: str, value: str) -> bool:
    """Return whether a key holds text: what takes it says so, else what it holds now."""
    parent, name = _parent(cfg, key), key.rpartition(".")[2]
    if isinstance(parent, DictConfig) and TARGET in parent and name != TARGET:
        kinds = accepted_types(parent, name)
        if kinds is not None:
            may_be_list = kinds & {list, tuple} and re.fullmatch(r"[\d, ]+", value)
            return str in kinds and not kinds & {int, float, bool} and not may_be_list
    return isinstance(_held(cfg, key), str)


def _may_be_null(cfg: DictConfig, key: str, *, is_path: bool) -> bool:
    parent, name = _parent(cfg, key), key.rpartition(".")[2]
    if isinstance(parent, DictConfig) and TARGET in parent:
        kinds = accepted_types(parent, name)
        if kinds is not None:
            return type(None) in kinds
    pattern = _NULL_PATHS if is_path else _NULL_TEXTS
    return pattern.fullmatch(key) is not None


def _read_text(cfg: DictConfig, key: str, value: str, *, is_path: bool) -> Any:
    """Return the text that a value is; a list, a quoted text or null where it is written so."""
    text = value.strip()
    if text == "null" and _may_be_null(cfg, key, is_path=is_path):
        return None
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if is_quoted or (text[:1] + text[-1:]) in ("[]", "{}"):
        try:
            return OverridesParser.create().parse_override(f"key={text}").value()
        except Exception as error:  # it is not written so
            if not type(error).__module__.startswith("hydra"):
                raise
    return _expand_home(text) if is_path else text


def _expand_home(text: str) -> str:
    """Return a path, or several with colons between them, with the home folder in place of ~."""
    return ":".join(os.path.expanduser(part) for part in text.split(":"))


def _check_is_read(cfg: DictConfig, key: str, override: str) -> None:
    """Check that something reads a new key: a class, the engine, or a reference.

    Raises:
        InputError: nothing does.
    """
    parts = key.split(".")
    for count in range(len(parts) - 1, 0, -1):
        node = OmegaConf.select(cfg, ".".join(parts[:count]))
        if isinstance(node, DictConfig) and TARGET in node:
            if not accepts(node, parts[count]):
                raise InputError(
                    f"override '{override}': {parts[count]} is no argument of what "
                    f"{'.'.join(parts[:count])} builds."
                )
            return
    known = _engine_keys()
    group, name = parts[0], parts[1] if len(parts) > 1 else ""
    if not (key in known or name in _OPTIONAL.get(group, ()) or _is_referred_to(cfg, key)):
        raise InputError(
            f"override '{override}': nothing reads the key '{key}' in this config; did you mean "
            f"'{difflib.get_close_matches(key, [n for n, _ in walk(cfg) if n != key], 1, 0.0)[0]}'?"
        )


def _is_referred_to(cfg: DictConfig, key: str) -> bool:
    """Return whether a reference of a config that is right is wrong without a key."""
    without = copy.deepcopy(cfg)
    parent, _, name = key.rpartition(".")
    OmegaConf.select(without, parent).pop(name) if parent else without.pop(name)
    try:
        check_references(without)
    except InputError:
        return True
    return False


def _engine_keys() -> set[str]:
    """Return the keys of `train` that the engine reads, some of which older configs lack."""
    path: Path = config_folder() / "common" / "train.py"
    return {key for key, _ in walk(LazyConfig.load(str(path)))}
