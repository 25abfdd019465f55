"""Weight files: reading of local and downloaded ones, never unpickling more than tensors.

Every reader of the project goes through `read_weights`, so a damaged file is reported the same way
everywhere. The kind of a file is recognized by its first bytes, whatever its name.
"""

import argparse
import logging
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bpt_det.utils.errors import InputError

from .detectron2_pickle import read_detectron2_pickle

logger = logging.getLogger(__name__)

# Exceptions that readers raise on files cut or overwritten at various places.
SIGNS_OF_DAMAGE = (
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    SafetensorError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_HEAD_BYTES = 512  # enough to recognize a web page or a Git LFS pointer
_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number before every old torch.save file
_MAX_SAFETENSORS_HEADER = 100_000_000  # bytes; the limit of the format
SHIPPED_PREFIX = "bpt_det:"
_SHIPPED_FOLDER = Path(__file__).parents[2] / "pretrained"
_SHIPPED_SUFFIXES = (".pth", ".safetensors")


def read_weights(location: str, *, source: str = "", hint: str | None = None) -> Any:
    """Return the content of a weight file; nothing of it is executed.

    It may be written by ``torch.save`` (read with ``weights_only=True``), as safetensors, as
    NumPy's npz, or as a model file of Detectron2 (a pickle of arrays); arrays become tensors.

    Args:
        location: local path, http(s) address, which is downloaded once and cached, or
            ``bpt_det:NAME``, a file that comes with the package.
        source: where such a file comes from; ends the error about a missing one.
        hint: of the error about a missing one, see `InputError`.

    Raises:
        InputError: the file is missing, truncated, a web page, a Git LFS pointer, or holds more
            than tensors and plain containers.
    """
    path = local_path(location)
    if path.is_dir():
        raise InputError(f"weights '{location}' are a folder; give the path of a file in it.")
    if not path.is_file():
        raise InputError(f"weights '{location}' do not exist. {source}".rstrip(), hint=hint)
    head = _read_head(path)
    _check_head(path, head)
    kind = next(kind for kind in _KINDS if kind.recognize(head))
    try:
        return kind.read(path)
    except InputError:
        raise
    except SIGNS_OF_DAMAGE as error:
        raise _damaged(path, kind.name) from error


def _read_torch(path: Path) -> Any:
    try:
        # Official files hold the command line beside the weights; a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"\bGLOBAL (\S+)", str(error))  # else the bytes are no pickle at all
        if not refused:
            raise _damaged(path, "PyTorch weights") from error
        raise InputError(
            f"'{path}' holds Python objects besides tensors ({refused[1]}) and was not opened; "
            "save its state_dict alone with torch.save."
        ) from error


def _read_npz(path: Path) -> dict[str, Tensor]:
    state = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            try:
                state[name] = torch.from_numpy(file[name])
            except (ValueError, TypeError) as error:  # objects, texts, NumPy's void
                raise InputError(
                    f"'{path}' holds '{name}', which is no array of numbers ({error}), and was not "
                    "opened; save its weights alone with numpy.savez."
                ) from error
    return state


def _is_npz(head: bytes) -> bool:
    first_member = head[30 : 30 + int.from_bytes(head[26:28], "little")]  # the zip format's layout
    return head.startswith(b"PK\x03\x04") and first_member.endswith(b".npy")


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_SAFETENSORS_HEADER


def _is_plain_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and not head[2:].startswith(_LEGACY_TORCH)


class _Kind(NamedTuple):
    name: str
    recognize: Callable[[bytes], bool]
    read: Callable[[Path], Any]


_KINDS = (
    _Kind("NumPy arrays (npz)", _is_npz, _read_npz),
    _Kind("safetensors", _is_safetensors, safetensors.torch.load_file),
    _Kind("Detectron2 weights", _is_plain_pickle, read_detectron2_pickle),
    _Kind("PyTorch weights", lambda head: True, _read_torch),
)


class StateDifferences(NamedTuple):
    """Names of tensors in which a state_dict differs from the expected one."""

    missing: list[str]
    resized: list[str]
    unknown: list[str]


def compare_states(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> StateDifferences:
    """Return the names of tensors that are missing, have another shape, or are not expected."""
    return StateDifferences(
        missing=[name for name in expected if name not in state],
        resized=[n for n, v in expected.items() if n in state and state[n].shape != v.shape],
        unknown=[name for name in state if name not in expected],
    )


def local_path(location: str) -> Path:
    """Return the local path of a weight file, downloading it into torch's cache if need be.

    Raises:
        InputError: the download fails, or no such file comes with the package.
    """
    if location.startswith(SHIPPED_PREFIX):
        return _shipped_path(location.removeprefix(SHIPPED_PREFIX))
    address = urlparse(location)
    if address.scheme not in ("http", "https"):
        return Path(location).expanduser()
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(address.path).name
    if not cached.exists():
        logger.info("Downloading %s to %s", location, cached)
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(location, str(cached), progress=True)
        except (OSError, HTTPException) as error:
            raise InputError(
                f"cannot download '{location}' ({error}); download it elsewhere and give its path."
            ) from error
    return cached


def shipped_names() -> list[str]:
    """Return the names of the weight files that come with the package."""
    files = _SHIPPED_FOLDER.iterdir()
    return sorted(path.name for path in files if path.suffix in _SHIPPED_SUFFIXES)


def _shipped_path(name: str) -> Path:
    names = shipped_names()
    if name not in names:
        raise InputError(
            f"no weights '{name}' come with the package; choose one of: {', '.join(names)}."
        )
    return _SHIPPED_FOLDER / name


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}.") from error


def _check_head(path: Path, head: bytes) -> None:
    if not head:
        raise InputError(f"'{path}' is empty; delete it and download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(
            f"'{path}' is a Git LFS pointer, not the weights; fetch them with `git lfs pull`."
        )
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise InputError(
            f"'{path}' is a web page saved as weights; delete it and download the file behind the "
            "link again."
        )


def _damaged(path: Path, kind: str) -> InputError:
    return InputError(
        f"'{path}' ({path.stat().st_size} bytes) is truncated or not a file of {kind}; delete it "
        "and download or save it again."
    )
