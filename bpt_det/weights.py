"""Reading files of weights: local or downloaded, never unpickling more than tensors.

Every reader of the project goes through `read_weights`, so a damaged file is named the same way
everywhere.
"""

import argparse
import logging
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import torch
from torch import Tensor

from bpt_det.errors import InputError

logger = logging.getLogger(__name__)

# What torch.load raises on files cut or overwritten at various places.
_SIGNS_OF_DAMAGE = (
    *(RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError),
    *(struct.error, zipfile.BadZipFile),
)
_HEAD_BYTES = 512  # enough to tell a web page or a Git LFS pointer from weights


def read_weights(location: str, *, hint: str = "") -> Any:
    """Return what a ``torch.save`` file holds, read with ``weights_only=True``.

    Args:
        location: local path, or http(s) address, which is downloaded once and cached.
        hint: where such a file comes from; ends the error about a missing one.

    Raises:
        InputError: the file is missing, truncated, a web page, a Git LFS pointer, or holds more
            than tensors and plain containers.
    """
    path = local_path(location)
    if not path.is_file():
        raise InputError(f"weights '{location}' do not exist. {hint}".rstrip())
    _refuse_impostors(path)
    try:
        # Official files hold the command line beside the weights; a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"\bGLOBAL (\S+)", str(error))  # else the bytes are no pickle at all
        if refused:
            raise InputError(
                f"'{path}' holds Python objects besides tensors ({refused[1]}) and was not opened; "
                "save its state_dict alone with torch.save."
            ) from error
        raise _damaged(path) from error
    except _SIGNS_OF_DAMAGE as error:
        raise _damaged(path) from error


class StateDifferences(NamedTuple):
    """Names in which a state_dict differs from the one that is expected."""

    missing: list[str]
    resized: list[str]
    unknown: list[str]


def compare_states(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> StateDifferences:
    """Return which tensors a state_dict lacks, has in another shape, or has beyond the expected."""
    return StateDifferences(
        missing=[name for name in expected if name not in state],
        resized=[n for n, v in expected.items() if n in state and state[n].shape != v.shape],
        unknown=[name for name in state if name not in expected],
    )


def local_path(location: str) -> Path:
    """Return a local path of a file of weights, downloading it into torch's cache if need be."""
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


def _refuse_impostors(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}.") from error
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


def _damaged(path: Path) -> InputError:
    return InputError(
        f"'{path}' ({path.stat().st_size} bytes) is truncated or not a file of PyTorch weights; "
        "delete it and download or save it again."
    )
