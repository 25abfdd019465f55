"""Weight files: reading of local and downloaded ones, never unpickling more than tensors.

Every reader of the project goes through `read_weights`, so a damaged file is reported the same way
everywhere. The kind of a file is recognized by its first bytes, whatever its name. What it holds is
checked before it is built: see `pickle_scan` and `zip_check`.
"""

import argparse
import io
import json
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bpt_det.utils.errors import InputError, one_line, shorten

from .detectron2_pickle import read_detectron2_pickle
from .download import download, is_address
from .pickle_scan import PickleScan, check_copies, is_storage_name, scan_pickle
from .zip_check import check_zip

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
_LEGACY_PICKLES = 5  # that number, version, machine, content, names of the storages
_MAX_SAFETENSORS_HEADER = 20_000_000  # bytes, about 200,000 tensors; the format allows 100 MB
_MAX_INDEX = 20_000_000  # bytes of a JSON file that is looked into
_MAX_COPIES = 4  # of the bytes of a file, in all of its tensors
_TORCH_NAMES = {
    "__builtin__.set",
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.set",
    "collections.Counter",
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch.device",
    "torch.nn.parameter.Parameter",
}
# First bytes of files that are no weights, and what to do with them.
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer; fetch the weights with `git lfs pull`",
    b"\x1f\x8b": "compressed with gzip; unpack it and give the file in it",
    b"\x89HDF": "a file of Keras (HDF5); convert it to safetensors",
}
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
        InputError: the file is missing, truncated, a web page, a Git LFS pointer, holds more than
            tensors and plain containers, or more than the limits.
    """
    path = local_path(location)
    check_file(path, f"weights '{location}'", source=source, hint=hint)
    head = _read_head(path)
    _check_head(path, head)
    kind = next(kind for kind in _KINDS if kind.recognize(head))
    try:
        return kind.read(path)
    except InputError:
        raise
    except SIGNS_OF_DAMAGE as error:
        raise _damaged(path, kind.name) from error


def check_file(path: Path, name: str, *, source: str = "", hint: str | None = None) -> None:
    """Check that a path is a file; a pipe or a device would be waited for, or never end.

    Args:
        path: to check.
        name: of the file, to begin the error with.
        source: see `read_weights`.
        hint: see `read_weights`.

    Raises:
        InputError: there is none, or it is something else.
    """
    try:
        if path.is_dir():
            raise InputError(f"{name} are a folder; give the path of a file in it.")
        if not path.exists():
            raise InputError(f"{name} do not exist. {source}".rstrip(), hint=hint)
        if not path.is_file():
            raise InputError(f"{name} are no file but a pipe or a device; give a file.")
    except OSError as error:  # such as a name of more than 255 bytes
        raise InputError(f"{name} cannot be read: {error.strerror}.", hint=hint) from error


def _read_torch(path: Path) -> Any:
    scan = PickleScan()
    head = _read_head(path)
    if head.startswith(b"PK\x03\x04"):
        _scan_zip(path, scan)
    elif head[2:].startswith(_LEGACY_TORCH):
        with path.open("rb") as file:
            for _ in range(_LEGACY_PICKLES):
                scan_pickle(file, path, _is_torch_name, scan)
    else:
        raise pickle.UnpicklingError("no file of torch.save")
    size = path.stat().st_size
    if sum(scan.storage_bytes.values()) > size or scan.copied_bytes > _MAX_COPIES * size:
        raise pickle.UnpicklingError("tensors larger than the file")
    # Official files hold the command line beside the weights; a Namespace is plain data.
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file in an unusual protocol
        content = torch.load(path, map_location="cpu", weights_only=True)
    check_copies(content, path)
    return _plain(content)


def _plain(value: Any) -> Any:
    """Return nested data with plain dicts: a file may set attributes of others, such as `keys`."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in dict.items(value)}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _scan_zip(path: Path, scan: PickleScan) -> None:
    """Scan the pickle of a file of torch.save, and check that each storage is as large as it says.

    Raises:
        InputError: it is a program (TorchScript), or no file of torch.save.
    """
    members = check_zip(path)
    names = {name.partition("/")[2]: name for name in members}
    if "constants.pkl" in names:
        raise InputError(
            f"'{path}' is a program (TorchScript); save its state_dict alone with torch.save."
        )
    with zipfile.ZipFile(path) as archive:
        content = archive.read(names["data.pkl"])
    scan_pickle(io.BytesIO(content), path, _is_torch_name, scan)
    for key, size in scan.storage_bytes.items():
        if members[names[f"data/{key}"]].file_size != size:
            raise pickle.UnpicklingError(f"storage {key} is not of {size} bytes")


def _is_torch_name(name: str) -> bool:
    if name in _TORCH_NAMES or is_storage_name(name):
        return True
    module, _, attribute = name.rpartition(".")
    return module == "torch" and isinstance(getattr(torch, attribute, None), torch.dtype)


def _read_npz(path: Path) -> dict[str, Tensor]:
    check_zip(path)
    state = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            try:
                state[name] = torch.from_numpy(file[name])
            except (ValueError, TypeError) as error:  # objects, texts, NumPy's void
                reason = one_line(error)[:200]
                raise InputError(
                    f"'{path}' holds '{name}', which is no array of numbers ({reason}), and was "
                    "not opened; save its weights alone with numpy.savez."
                ) from error
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    check_safetensors(path)
    return safetensors.torch.load_file(path)


def check_safetensors(path: Path) -> None:
    """Check that the header of a safetensors file lies in the file, and is not too large.

    Raises:
        InputError: it is too large.
        SafetensorError: it is damaged.
    """
    length = int.from_bytes(_read_head(path)[:8], "little")
    if length > path.stat().st_size - 8:
        raise SafetensorError("the header is longer than the file")
    if length > _MAX_SAFETENSORS_HEADER:
        raise InputError(
            f"'{path}' has a header of {length:,} bytes, more than the "
            f"{_MAX_SAFETENSORS_HEADER:,} of any network; save its tensors again."
        )


def _read_json(path: Path) -> Any:
    """Refuse a JSON file, and say what it is.

    Raises:
        InputError: always.
    """
    with path.open("rb") as file:
        text = file.read(_MAX_INDEX)
    try:
        content = json.loads(text)
        files = sorted(set(content["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"'{path}' is a text (JSON), not weights; give the file of weights beside it."
        ) from None
    raise InputError(
        f"'{path}' is only the index of weights in {len(files)} files ({shorten(files)}); join "
        "them into one file with safetensors.torch.save_file or torch.save, and give that."
    )


def _is_npz(head: bytes) -> bool:
    first_member = head[30 : 30 + int.from_bytes(head[26:28], "little")]  # the zip format's layout
    return head.startswith(b"PK\x03\x04") and first_member.endswith(b".npy")


def _is_safetensors(head: bytes) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and (length < 1 << 40 or head[:1] != b"\x80")


def _is_json(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") and b"\0" not in head


def _is_plain_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and not head[2:].startswith(_LEGACY_TORCH)


class _Kind(NamedTuple):
    name: str
    recognize: Callable[[bytes], bool]
    read: Callable[[Path], Any]


_KINDS = (
    _Kind("NumPy arrays (npz)", _is_npz, _read_npz),
    _Kind("JSON", _is_json, _read_json),
    _Kind("safetensors", _is_safetensors, _read_safetensors),
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


def check_weights(state: Mapping[str, Tensor], path: str) -> None:
    """Check that weights are finite.

    Raises:
        InputError: some are NaN or infinite; their names are given.
    """
    broken = [name for name, value in state.items() if not _is_finite(value)]
    if broken:
        raise InputError(
            f"'{path}' holds NaN or infinite numbers in {len(broken)} of {len(state)} tensors "
            f"({shorten(broken)}); the training that wrote it diverged, or the file is damaged: "
            "give an earlier one."
        )


def _is_finite(value: Tensor) -> bool:
    is_tiny = value.is_floating_point() and value.itemsize == 1  # torch has no isfinite for float8
    return bool(torch.isfinite(value.float() if is_tiny else value).all())


def local_path(location: str) -> Path:
    """Return the local path of a weight file, downloading it into torch's cache if need be.

    Raises:
        InputError: the download fails, or no such file comes with the package.
    """
    if location.startswith(SHIPPED_PREFIX):
        return _shipped_path(location.removeprefix(SHIPPED_PREFIX))
    return download(location) if is_address(location) else Path(location).expanduser()


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
    for beginning, what in _FOREIGN.items():
        if head.startswith(beginning):
            raise InputError(f"'{path}' is {what}.")
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
