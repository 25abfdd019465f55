"""Detectron2's model files: a restricted unpickler for NumPy arrays.

Source: facebookresearch/detectron2 detectron2/checkpoint/detection_checkpoint.py reads
``{"model": {name: array}, "__author__": …}`` with an unrestricted unpickler and the latin1
encoding. Here the unpickler may build arrays and plain containers alone. NumPy's own unpickling,
which trusts a file about memory, does not run: stand-ins take the description and the bytes.
"""

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from bpt_det.utils.errors import InputError

from .pickle_scan import PickleScan, check_copies, scan_pickle

_MAX_COPIES = 4  # of the bytes of a file, in all of its arrays


def read_detectron2_pickle(path: Path) -> dict[str, Any]:
    """Return the content of a Detectron2 ``.pkl``; arrays come back as tensors, at any depth.

    A damaged file raises whatever pickle and NumPy do; `read_weights` reports it.

    Args:
        path: local file, such as a ``model_final_*.pkl`` of Detectron2's model zoo.

    Raises:
        InputError: the file is not a dictionary, or holds Python objects besides numerical arrays
            and plain data; none of these is executed.
    """
    scan = PickleScan()
    with path.open("rb") as file:
        scan_pickle(file, path, lambda name: _key(name) in _ALLOWED, scan)
        if scan.copied_bytes > _MAX_COPIES * path.stat().st_size:
            raise pickle.UnpicklingError("more bytes than the file has")
        file.seek(0)
        content = _ArrayUnpickler(file, encoding="latin1").load()  # zoo files: Python 2 and 3
    check_copies(content, path)
    if not isinstance(content, dict):
        raise InputError(
            f"'{path}' holds a {type(content).__name__}, not the dictionary of a Detectron2 model."
        )
    arrays = list(_arrays_in(content))
    if sum(len(array.data) for array in arrays) > _MAX_COPIES * path.stat().st_size:
        raise pickle.UnpicklingError("arrays larger than the file")
    return _to_tensors(content, path)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that knows the names which NumPy 1 and 2 write for arrays, and no others."""

    def find_class(self, module: str, name: str) -> Callable:
        return _ALLOWED[_key(f"{module}.{name}")]  # the scan has found no other


class _DType:
    """Stand-in for `numpy.dtype`; of its state only the byte order is used."""

    def __init__(self, name: str, *_flags: Any) -> None:
        self.name = name  # such as f4
        self.byte_order = "="

    def __setstate__(self, state: tuple) -> None:
        self.byte_order = "=" if state[1] == "|" else state[1]


@dataclass
class _Array:
    """Stand-in for an array or a scalar, described as in the pickle."""

    dtype: _DType | None = None
    data: Any = b""
    shape: tuple[int, ...] = ()
    order: Literal["C", "F"] = "C"

    def __setstate__(self, state: tuple) -> None:
        _version, self.shape, self.dtype, is_fortran, self.data = state
        self.order = "F" if is_fortran else "C"

    def to_tensor(self, path: Path, name: str) -> torch.Tensor:
        """Return a writable tensor in C order.

        Raises:
            InputError: it holds anything but numbers.
        """
        if self.dtype is None:
            raise pickle.UnpicklingError(f"{name} is an array without a description")
        if not re.fullmatch(r"b1|[iuf][1248]", self.dtype.name):
            raise InputError(
                f"'{path}' holds '{name}' of dtype {self.dtype.name}, which is no weight; save its "
                "state_dict alone with torch.save."
            )
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        array = np.frombuffer(data, self.dtype.byte_order + self.dtype.name)
        array = array.reshape(self.shape, order=self.order)
        native = array.dtype.newbyteorder("=")  # torch takes no other
        return torch.from_numpy(np.array(array, dtype=native, order="C"))


def _key(name: str) -> str:
    """Return a full name as NumPy 2 writes it."""
    return name.replace("numpy.core.", "numpy._core.", 1)


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes that protocol 2 wrote as latin1 text; other codecs are not needed."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding}")
    return text.encode("latin1")


_ALLOWED: dict[str, Callable] = {
    "numpy._core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy._core.multiarray.scalar": _Array,
    "numpy._core.numeric._frombuffer": lambda data, *rest: _Array(rest[0], data, *rest[1:]),
    "numpy.ndarray": _Array,
    "numpy.dtype": _DType,
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
}


def _arrays_in(value: Any) -> Iterator[_Array]:
    if isinstance(value, _Array):
        yield value
    elif isinstance(value, dict):
        for item in dict.values(value):
            yield from _arrays_in(item)


def _to_tensors(value: Any, path: Path, name: str = "") -> Any:
    if isinstance(value, dict):
        prefix = f"{name}." if name else ""
        return {key: _to_tensors(item, path, f"{prefix}{key}") for key, item in dict.items(value)}
    if not isinstance(value, _Array):
        return value
    return value.to_tensor(path, name)
