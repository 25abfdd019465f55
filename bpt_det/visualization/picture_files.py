"""Picture files: names that do not collide, output folders, writing without overwriting."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bpt_det.utils.atomic import make_writable
from bpt_det.utils.errors import InputError

_JPEG_QUALITY = 95
_MAX_STEM = 200  # bytes; file systems allow 255 for a whole name
PNG_LEVEL = 1  # of zlib: a quarter of the time of its default for a fifth more bytes


def picture_names(
    sources: Iterable[str], suffixes: Sequence[str], reserved: Sequence[str] = ()
) -> list[str]:
    """Return a name for the picture of each file; files of the same stem get a number.

    Args:
        sources: paths of the files.
        suffixes: of each picture, such as ``.png``.
        reserved: stems that no picture takes.
    """
    taken = set(reserved)
    names = []
    for source, suffix in zip(sources, suffixes, strict=True):
        stem = name = _stem(source)
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        names.append(f"{name}{suffix}")
    return names


def _stem(source: str) -> str:
    """Return a file's name without suffix and leading dots, short enough for a suffix and number.

    Without its dots the picture is not hidden, and its suffix says its format.
    """
    stem = Path(source).stem.lstrip(".") or "image"
    data = os.fsencode(stem)
    return stem if len(data) <= _MAX_STEM else data[:_MAX_STEM].decode("utf-8", "ignore")


def prepare_output(folder: Path, names: Sequence[str], option: str = "folder") -> None:
    """Make an output folder, and refuse to write over any of these files in it.

    Args:
        folder: path of the folder.
        names: of the files that will be written.
        option: what the caller calls the folder, for the error.

    Raises:
        InputError: it cannot be written, or holds one of them.
    """
    make_writable(folder, option)
    present = [name for name in names if (folder / name).exists()]
    if present:
        raise InputError(
            f"{option} '{folder}' already holds {present[0]}; choose another folder, or delete "
            "this one."
        )


def save_picture(picture: np.ndarray, path: Path) -> None:
    """Write a picture, RGB (H, W, 3), uint8, in the format that its suffix names.

    Raises:
        InputError: it cannot be written.
    """
    try:
        # Each format takes its own setting.
        Image.fromarray(picture).save(path, quality=_JPEG_QUALITY, compress_level=PNG_LEVEL)
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror or error}.") from error
