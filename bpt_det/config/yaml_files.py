"""YAML configs: read as data, which may only name what is on a list or what a user trusts.

A ``.py`` config is a program and is run as one. A ``config.yaml`` may come from a stranger: it is
read without executing anything, and what `instantiate` would call for it has to be in the file
``targets.txt`` beside this module, under its full name, or in a package that the user trusts.
"""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import parse

from bpt_det.utils.errors import InputError, one_line
from bpt_det.utils.limits import Limit

from .tree import walk

TRUST_VARIABLE = "BPT_DET_TRUST"
TARGETS_FILE = Path(__file__).with_name("targets.txt")

_BYTES = Limit("BPT_DET_MAX_CONFIG_BYTES", 1_000_000, "bytes")
_VALUES = Limit("BPT_DET_MAX_CONFIG_NODES", 200_000, "values")
_TARGET = "_target_"
_NAME_TAG = "tag:yaml.org,2002:python/name:"
_YAML_ERRORS = (yaml.YAMLError, UnicodeError, ValueError, RecursionError, TypeError)
_MAX_DEPTH = 100  # of nested lists and mappings; ours have about 10
# libyaml where PyYAML has it. It recurses in C, so the depth is checked before.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml_config(path: str, trust: Sequence[str] = ()) -> DictConfig:
    """Return the config in a YAML file; nothing in it is executed or imported but what is allowed.

    Args:
        path: of the file.
        trust: packages whose every class and function it may name, besides those that
            ``BPT_DET_TRUST`` names, separated by commas.

    Raises:
        InputError: the file cannot be read, is not a mapping, is larger than the limits, or names
            something that is not allowed.
    """
    if not os.path.isfile(path):  # a pipe or a device may never end
        raise InputError(f"config file '{path}' is no regular file; give a .yaml or a .py config.")
    _BYTES.check(os.path.getsize(path), f"config file '{path}'")  # before it is read
    return parse_yaml_config(Path(path).read_bytes(), path, trust)


def parse_yaml_config(text: bytes, path: str, trust: Sequence[str] = ()) -> DictConfig:
    """Return the config in a YAML text, see `read_yaml_config`; ``path`` names it in errors."""
    _BYTES.check(len(text), f"config file '{path}'")
    allowed = _Allowed(path, trust)
    try:
        _check_depth(text, path)
        return _build(_load(text, path, allowed), path, allowed)
    except InputError:
        raise
    except _YAML_ERRORS as error:
        reason = one_line(error)[:200]  # of nested data it has the whole key
        raise InputError(f"config file '{path}' cannot be loaded: {reason}") from error


def _build(content: Any, path: str, allowed: "_Allowed") -> DictConfig:
    """Return the config that YAML holds, if it names nothing but what is allowed."""
    if not isinstance(content, dict):
        raise InputError(
            f"config file '{path}' is no mapping of keys to values but {type(content).__name__}; "
            "give the config.yaml of a run or a .py config."
        )
    cfg = OmegaConf.create(content, flags={"allow_objects": True})
    for key, node in walk(cfg):
        value = node._value()  # an interpolation as it is written
        if key.rpartition(".")[2] == _TARGET and isinstance(value, str):
            allowed.check(value, key)  # what a tag names has been checked
        elif isinstance(value, str) and "${" in value:
            _check_interpolation(value, key, path)
    return cfg


def trusted_packages(trust: Sequence[str] = ()) -> list[str]:
    """Return the packages that a caller trusts, and those that ``BPT_DET_TRUST`` names."""
    names = [*trust, *os.environ.get(TRUST_VARIABLE, "").split(",")]
    return [name.strip() for name in names if name.strip()]


def trust_package(name: str) -> None:
    """Trust a package in this process and in those that it starts."""
    os.environ[TRUST_VARIABLE] = ",".join([*trusted_packages(), name])


@cache
def allowed_names() -> frozenset[str]:
    """Return the full names that every config may use: the lines of ``targets.txt``."""
    lines = TARGETS_FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


class _Allowed:
    """Names that a config file may use."""

    def __init__(self, path: str, trust: Sequence[str]) -> None:
        self.path = path
        self.packages = trusted_packages(trust)

    def check(self, name: str, where: str) -> None:
        """Raise an `InputError` unless a full name is on the list or in a trusted package."""
        package = name.partition(".")[0]
        prefixes = (f"{trusted}." for trusted in self.packages)
        if name not in allowed_names() and not name.startswith(tuple(prefixes)):
            raise InputError(
                f"config file '{self.path}' names '{name}' ({where}), which is not among the "
                "classes and functions that a YAML config may use. If the file is from someone you "
                f"trust: {TRUST_VARIABLE}={package}, or trust=['{package}'] in Python.",
                hint="trust",
            )


def _check_depth(text: bytes, path: str) -> None:
    """Check the depth of a YAML text by its events, which takes no recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise InputError(f"config file '{path}' is nested more than {_MAX_DEPTH} levels deep.")


def _load(text: bytes, path: str, allowed: _Allowed) -> Any:
    """Construct the plain containers of a YAML text, once its size with all aliases is known."""

    class Loader(_LOADER):
        pass

    def name_of(loader: Any, suffix: str, node: yaml.Node) -> Any:
        allowed.check(suffix, f"line {node.start_mark.line + 1}")
        try:
            return locate(suffix)
        except ImportError as error:
            raise InputError(
                f"config file '{path}' names '{suffix}', which does not exist here "
                f"({one_line(error)})."
            ) from error

    Loader.add_multi_constructor(_NAME_TAG, name_of)
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _VALUES.check(_count(node, {}, path), f"config file '{path}'")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int], path: str) -> int:
    """Return how many nodes a node holds, where each alias counts as a copy."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise InputError(f"config file '{path}' holds an alias of what it is in.")
        return known[id(node)]
    known[id(node)] = 0
    total = 1
    if isinstance(node, yaml.MappingNode):
        total += sum(_count(k, known, path) + _count(v, known, path) for k, v in node.value)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_count(child, known, path) for child in node.value)
    known[id(node)] = total
    return total


def _check_interpolation(text: str, key: str, path: str) -> None:
    """Check that a text refers to keys of the config alone, not to a resolver that makes values."""
    try:
        tree = parse(text)
    except OmegaConfBaseException as error:
        raise InputError(
            f"config file '{path}': {key} is no valid reference ({one_line(error)})."
        ) from error
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if type(node).__name__ == "InterpolationResolverContext":
            raise InputError(
                f"config file '{path}': {key}={text} calls a resolver; a YAML config may only "
                "refer to its own keys, as in ${train.seed}."
            )
        nodes += getattr(node, "children", None) or []
