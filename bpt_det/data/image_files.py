"""Reading images from folders and from zip archives."""

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from bpt_det.utils.errors import InputError, one_line, shorten

_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, KeyError),
)
_ARCHIVES: dict[str, tuple[int, zipfile.ZipFile]] = {}


def archive(path: str | Path) -> zipfile.ZipFile:
    """Return an open archive; each process has its own, also after a fork.

    A forked process that read through its parent's handle would move the parent's file position.

    Raises:
        InputError: it is no zip archive.
    """
    pid, name = os.getpid(), str(path)
    if name not in _ARCHIVES or _ARCHIVES[name][0] != pid:
        try:
            _ARCHIVES[name] = (pid, zipfile.ZipFile(name))
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(
                f"'{name}' cannot be read as a zip archive ({one_line(error)}); download it again"
            ) from error
    return _ARCHIVES[name][1]


def read_bytes(file_name: str) -> bytes:
    """Return a file's bytes; ``ARCHIVE.zip/inner/path`` is read out of the archive.

    Raises:
        InputError: it is missing or cannot be read.
    """
    try:
        for match in re.finditer(r"\.zip/", file_name, re.IGNORECASE):
            outer, inner = file_name[: match.end() - 1], file_name[match.end() :]
            if os.path.isfile(outer):
                return archive(outer).read(inner)
        return Path(file_name).read_bytes()
    except _UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{file_name}' cannot be read ({one_line(error)}); replace it") from error


def read_image(file_name: str) -> np.ndarray:
    """Return an image, (H, W, 3) uint8, RGB.

    Orientation tags are not applied, as in the published training.

    Raises:
        InputError: it is missing, cannot be decoded, or has more than 8 bits a channel.
    """
    return decode_image(read_bytes(file_name), file_name)


def decode_image(data: bytes, file_name: str) -> np.ndarray:
    """Return what `read_image` does, from a file's bytes; the name is for the error.

    Raises:
        InputError: they cannot be decoded, or have more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                raise ValueError(f"mode {image.mode}; 8 bits a channel are needed")
            if image.mode in ("P", "PA"):
                image = image.convert("RGBA")
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:  # its text has an address in memory
        raise InputError(
            f"image '{file_name}' cannot be decoded (it is of no known format); replace it"
        ) from error
    except _UNREADABLE as error:
        raise InputError(
            f"image '{file_name}' cannot be decoded ({one_line(error)}); replace it"
        ) from error


def check_images(file_names: Iterable[str]) -> None:
    """Decode all images and name those that cannot be decoded.

    Raises:
        InputError: one or more of them cannot be.
    """
    names, corrupt = list(file_names), []
    for name in names:
        try:
            read_image(name)
        except InputError:
            corrupt.append(name)
    if corrupt:
        raise InputError(
            f"{len(corrupt)} of {len(names)} images cannot be decoded: {shorten(corrupt, 10)}; "
            "replace them"
        )
