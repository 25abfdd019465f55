"""Signatures of what a config builds: which arguments there are, and of which types."""

import inspect
import types
import typing
from functools import lru_cache
from typing import Any

from detectron2.utils.registry import locate
from omegaconf import DictConfig

TARGET = "_target_"


def accepts(node: DictConfig, name: str) -> bool:
    """Return whether what a node builds takes an argument; True where that is not known."""
    parameters = _parameters(node)
    if parameters is None or name in parameters or name.startswith("_"):
        return True
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def accepted_types(node: DictConfig, name: str) -> frozenset[type] | None:
    """Return the types that an argument may have; None: they are not known.

    A container, such as ``Sequence[int]``, stands for lists and tuples.
    """
    parameter = (_parameters(node) or {}).get(name)
    if parameter is None or parameter.annotation is inspect.Parameter.empty:
        return None
    hint = parameter.annotation
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    parts = typing.get_args(hint) if is_union else (hint,)
    kinds = frozenset(_kind(part) for part in parts)
    return None if object in kinds else typing.cast(frozenset[type], kinds)


def _kind(hint: Any) -> type:
    """Return a plain type, ``list`` for any sequence, or ``object`` for what is not known."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        kinds = {type(value) for value in typing.get_args(hint)}
        return kinds.pop() if len(kinds) == 1 else object
    if isinstance(origin, type) and origin is not dict:
        return list if issubclass(origin, typing.cast(type, typing.Sequence)) else object
    return hint if hint in (int, float, bool, str, type(None), list, tuple) else object


def _parameters(node: DictConfig) -> dict[str, inspect.Parameter] | None:
    target = node.get(TARGET)
    try:
        return _parameters_of(target)
    except (ImportError, TypeError, ValueError, NameError, AttributeError):
        return None  # instantiating it says what is wrong


@lru_cache(maxsize=512)
def _parameters_of(target: Any) -> dict[str, inspect.Parameter]:
    found = locate(target) if isinstance(target, str) else target
    if found is None:
        raise TypeError("nothing to build")
    return dict(inspect.signature(found, eval_str=True).parameters)
