"""Pickle scan: what a pickle would build, found from its opcodes before anything is built.

Restricted unpicklers execute nothing, but a file of a kilobyte can make them take all memory or
never return: memo indexes of 2³¹, tuples of tuples that double fifty times and become a key, a
storage of terabytes. The scan follows the stack of the pickle machine with stand-ins instead.
"""

import math
import pickle
import pickletools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from bpt_det.utils.errors import InputError
from bpt_det.utils.limits import Limit

# Numbers, texts, names … of a file: about 30 for each tensor.
_OBJECTS = Limit("BPT_DET_MAX_WEIGHT_OBJECTS", 200_000, "objects")
_MAX_TUPLE = 100_000  # objects in a tuple, where each reference counts as a copy
_MAX_DEPTH = 100  # of nested tuples
_OPCODES = set(
    "PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE EMPTY_LIST "
    "EMPTY_DICT EMPTY_SET NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES "
    "BINBYTES8 BYTEARRAY8 LIST DICT APPEND APPENDS SETITEM SETITEMS ADDITEMS BUILD REDUCE NEWOBJ "
    "BINPERSID BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE".split()
)
_REBUILD = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_REBUILD_TYPED = "torch._utils._rebuild_tensor_v3"  # of the types that have no storage class
_STORAGE = re.compile(r"torch(?:\.cuda|\.storage)?\.(\w+)Storage")
_ITEM_BYTES = {
    **dict.fromkeys(("Untyped", "Byte", "Char", "Bool"), 1),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}


class _Name(NamedTuple):
    """Stand-in for what a full name refers to."""

    name: str


class _Tuple(NamedTuple):
    """Stand-in for a tuple."""

    items: Sequence[Any]
    num_objects: int  # in it, with all copies
    depth: int


class _Storage(NamedTuple):
    """Stand-in for the storage of tensors."""

    num_values: int
    item_bytes: int


@dataclass
class _Other:
    """Stand-in for anything else, such as a list, and how much has been put into it."""

    size: int = 0


_MARK = object()


@dataclass
class PickleScan:
    """What the pickles of a file would build.

    Attributes:
        num_objects: opcodes, and objects that calls copy.
        storage_bytes: by the key of each storage.
        copied_bytes: of all tensors together, those of one storage counted each, and of all texts
            that become bytes.
    """

    num_objects: int = 0
    storage_bytes: dict[str, int] = field(default_factory=dict)
    copied_bytes: int = 0


def is_storage_name(name: str) -> bool:
    """Return whether a full name is that of one of PyTorch's storages."""
    match = _STORAGE.fullmatch(name)
    return match is not None and match[1] in _ITEM_BYTES


def scan_pickle(
    file: BinaryIO, path: Path, is_allowed: Callable[[str], bool], scan: PickleScan
) -> None:
    """Read one pickle from a file, to its end, and add to a scan what it would build.

    Args:
        file: at the beginning of a pickle; afterwards at its end.
        path: of the file, for errors.
        is_allowed: whether the pickle may use a full name.
        scan: of the pickles before it in the file.

    Raises:
        InputError: it names what is not allowed, or is larger than the limit.
        UnpicklingError: no writer of weights makes such a pickle.
    """
    machine = _Machine(path, is_allowed, scan)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name not in _OPCODES:
            raise pickle.UnpicklingError(f"opcode {opcode.name}")
        machine.count(1)
        machine.step(opcode, argument)


class _Machine:
    """Stack and memo of stand-ins, and the checks."""

    def __init__(self, path: Path, is_allowed: Callable[[str], bool], scan: PickleScan) -> None:
        self.path = path
        self.is_allowed = is_allowed
        self.scan = scan
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.most = _OBJECTS.value

    def count(self, num_objects: int) -> None:
        self.scan.num_objects += num_objects
        if self.scan.num_objects > self.most:
            _OBJECTS.check(self.scan.num_objects, f"'{self.path}'")

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name, stack = opcode.name, self.stack
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(self.memo) if name == "MEMOIZE" else argument
            if index > self.scan.num_objects:  # C code would make room for all before it
                raise pickle.UnpicklingError(f"memo index {index}")
            self.memo[index] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(self._name(*argument.split(" ", 1)))
        elif name == "MARK":
            stack.append(_MARK)
        else:
            popped = self._pop(opcode)
            if opcode.stack_after:
                stack.append(self._result(opcode, argument, popped))

    def _pop(self, opcode: pickletools.OpcodeInfo) -> list[Any]:
        """Take what an opcode takes from the stack; the last one on it comes last."""
        before = opcode.stack_before
        popped: list[Any] = []
        if pickletools.markobject in before:
            while (top := self.stack.pop()) is not _MARK:
                popped.append(top)
            before = before[: before.index(pickletools.markobject)]
        popped += [self.stack.pop() for _ in before]
        if _MARK in popped:
            raise pickle.UnpicklingError("a mark in place of an object")
        return popped[::-1]

    def _result(self, opcode: pickletools.OpcodeInfo, argument: Any, popped: list[Any]) -> Any:
        name = opcode.name
        if name == "STACK_GLOBAL":
            return self._name(*popped)
        if name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE"):
            return _tuple_of(popped)
        if name in ("REDUCE", "NEWOBJ"):
            self._check_call(*popped)
            return _Other()
        if name == "BINPERSID":
            return self._storage(popped[0])
        if opcode.stack_before and isinstance(popped[0], _Other):  # things put into a container
            self.count(sum(item.size for item in popped if isinstance(item, _Other)))
            popped[0].size += len(popped) - 1
            return popped[0]
        is_plain = not opcode.stack_before and isinstance(argument, int | str | bytes)
        return argument if is_plain else _Other()

    def _name(self, module: Any, name: Any) -> _Name:
        full = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "?"
        if not self.is_allowed(full):
            raise InputError(
                f"'{self.path}' holds Python objects besides tensors ({full}) and was "
                "not opened; save its state_dict alone with torch.save."
            )
        return _Name(full)

    def _storage(self, description: Any) -> _Storage:
        """Return the storage that ``('storage', type, key, device, number of values)`` is."""
        if not isinstance(description, _Tuple) or len(description.items) < 5:
            raise pickle.UnpicklingError("a reference that is no storage")
        what, kind, key, device, num_values, *_ = description.items
        kinds = [type(item) for item in (what, key, device, num_values)]
        if kinds != [str, str, str, int] or what != "storage" or not isinstance(kind, _Name):
            raise pickle.UnpicklingError("a reference that is no storage")
        match = _STORAGE.fullmatch(kind.name)
        if match is None or num_values < 0:
            raise pickle.UnpicklingError(f"{num_values} values of {kind.name}")
        storage = _Storage(num_values, _ITEM_BYTES[match[1]])
        self.scan.storage_bytes[key] = num_values * storage.item_bytes
        return storage

    def _check_call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Name) or not isinstance(arguments, _Tuple):
            raise pickle.UnpicklingError("a call of no function")
        self.count(sum(item.size for item in arguments.items if isinstance(item, _Other)))
        if function.name == "_codecs.encode":
            text, codec = arguments.items
            if codec != "latin1":
                raise pickle.UnpicklingError("another codec than latin1")
            self.scan.copied_bytes += len(text)
        if function.name in _REBUILD:
            self._check_tensor(*arguments.items[:4])
        if function.name == _REBUILD_TYPED:
            storage, *where, _, _, kind = arguments.items[:7]
            self._check_tensor(_retyped(storage, kind), *where)

    def _check_tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> None:
        """Check that a tensor lies in its storage, which would else grow, and has no copies."""
        parts = (*size.items, *stride.items, offset)
        if len(parts) > 99 or not all(type(part) is int and 0 <= part < 1 << 62 for part in parts):
            raise pickle.UnpicklingError("a tensor of no size")
        pairs = list(zip(size.items, stride.items, strict=True))
        count = math.prod(size.items)
        end = offset + 1 + sum((n - 1) * step for n, step in pairs) if count else 0
        if max(count, end) > storage.num_values:
            raise pickle.UnpicklingError(f"{max(count, end)} of {storage.num_values} values")
        self.scan.copied_bytes += count * storage.item_bytes


def _retyped(storage: Any, kind: Any) -> _Storage:
    """Return a storage as values of the type that a tensor in it names."""
    dtype = getattr(torch, kind.name.removeprefix("torch.")) if isinstance(kind, _Name) else None
    if not isinstance(storage, _Storage) or not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError("a tensor of no type")
    num_bytes = storage.num_values * storage.item_bytes
    return _Storage(num_bytes // dtype.itemsize, dtype.itemsize)


def _tuple_of(items: list[Any]) -> _Tuple:
    inner = [item for item in items if isinstance(item, _Tuple)]
    count = 1 + len(items) + sum(item.num_objects for item in inner)
    depth = 1 + max((item.depth for item in inner), default=0)
    if count > _MAX_TUPLE or depth > _MAX_DEPTH:
        raise pickle.UnpicklingError(f"a tuple of {count} objects, {depth} deep")
    return _Tuple(items, count, depth)


def check_copies(content: Any, path: Path) -> None:
    """Check that nested data stay small where each reference counts as a copy.

    Code that walks or shows them takes time for every copy.

    Raises:
        InputError: they hold more than the limit, or themselves.
    """
    _OBJECTS.check(_count(content, {}, 0), f"'{path}', with all copies,")


def _count(value: Any, known: dict[int, int], depth: int) -> int:
    if not isinstance(value, dict | list | tuple | set):
        return 1
    if id(value) not in known:
        if depth > _MAX_DEPTH:
            raise pickle.UnpicklingError(f"data nested more than {_MAX_DEPTH} deep")
        known[id(value)] = 0
        inner = (*dict.keys(value), *dict.values(value)) if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, known, depth + 1) for item in inner)
    elif not known[id(value)]:
        raise pickle.UnpicklingError("data that hold themselves")
    return known[id(value)]
