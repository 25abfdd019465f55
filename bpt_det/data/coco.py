"""COCO annotation files: reader, and sources FILE:FOLDER."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TypeGuard

from bpt_det.utils.errors import InputError, one_line

from .archives import archive_at, find_tree, is_file, read_bytes

LISTS = ("images", "annotations", "categories")
LVIS_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")  # of images, in LVIS's format


def read_annotation_file(path: str | Path) -> dict:
    """Return the content of a COCO-format annotation file, in UTF-8, UTF-16 or UTF-32.

    It may lie in an archive, ``ARCHIVE.zip/annotations/FILE.json``.

    A file of images alone, as COCO has for its test images, may lack ``annotations``. What COCO has
    and LVIS has not is added: the ``file_name`` of images, folder and name at the end of their
    ``coco_url``, and ``iscrowd``, 0 for all.

    Raises:
        InputError: the file cannot be read, is not JSON or in another encoding, or is not in COCO's
            format.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would wait for ever
            raise InputError(f"annotation file '{path}' is not a file; correct the path.")
        data = read_bytes(path) if archive_at(path) else Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: the path holds a NUL
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"annotation file '{path}' cannot be read ({reason}); correct the path."
        ) from error
    content = _parse(data, path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(name, [] if name == "annotations" else None), list) for name in LISTS
    ):
        raise InputError(
            f"annotation file '{path}' is not in COCO's format: it needs the lists "
            f"{', '.join(LISTS)}."
        )
    _complete_lvis(content)
    return content


def _complete_lvis(content: dict) -> None:
    """Add in place what a file in LVIS's format lacks of COCO's."""
    images = [image for image in content["images"] if isinstance(image, dict)]
    for image in images:
        url = image.get("coco_url")
        if "file_name" not in image and isinstance(url, str):
            image["file_name"] = "/".join(url.split("/")[-2:])
    if any(key in image for image in images for key in LVIS_LISTS):
        for annotation in content.get("annotations", []):
            if isinstance(annotation, dict):
                annotation.setdefault("iscrowd", 0)


def _parse(data: bytes, path: str | Path) -> object:
    try:
        return json.loads(data, object_pairs_hook=_refuse_repeated_keys)
    except UnicodeDecodeError as error:
        raise InputError(
            f"annotation file '{path}' is not UTF-8 (byte {error.object[error.start]:#04x} at "
            f"{error.start}); save it in the encoding UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        what = "is empty" if not data.strip() else f"is truncated or not JSON ({error})"
        raise InputError(f"annotation file '{path}' {what}; copy it again.") from error
    except (ValueError, RecursionError, MemoryError) as error:
        # A number of thousands of digits, lists in lists by the thousand, a key twice.
        raise InputError(
            f"annotation file '{path}' cannot be used ({one_line(error)}); correct it."
        ) from error


def _refuse_repeated_keys(pairs: list[tuple[str, object]]) -> dict:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object has the key {twice[:40]!r} twice")
    return entry


def split_source(value: object, option: str) -> tuple[str, str]:
    """Split ``FILE:FOLDER`` into the absolute paths of annotation file and image folder.

    Where a path has a colon too, the parts are those that exist.

    Args:
        value: the text.
        option: what the caller writes before it, for the error.

    Raises:
        InputError: it does not have two parts.
    """
    if not isinstance(value, str | int | os.PathLike):
        raise InputError(
            f"{option} takes one FILE:FOLDER, got a list or mapping ({str(value)[:100]}); write "
            "the entries of several files into one, with ids of their own."
        )
    text = str(value)
    splits = [(text[:i], text[i + 1 :]) for i, letter in enumerate(text) if letter == ":"]
    splits = [parts for parts in splits if all(part.strip() for part in parts)]
    if not splits:
        raise InputError(
            f"'{option}{text}' is not of the form FILE:FOLDER; give the annotation file and the "
            f"folder of its images, as in {option}{_example(text)}."
        )
    sources = [(absolute_path(file), absolute_path(folder)) for file, folder in splits]
    return max(sources, key=lambda source: _exists(source[0]) + (find_tree(source[1]) is not None))


def _exists(source: str) -> bool:
    """Return whether there is what a source names, which may end in a part: FILE#train."""
    path = source.rpartition("#")[0] or source
    return any(is_file(name) or find_tree(name) is not None for name in (source, path))


def _example(text: str) -> str:
    """Return a source: the most likely one of the archive that a text names, if it names one."""
    tree = find_tree(absolute_path(text))
    if tree is not None and os.path.isfile(tree.root):
        annotations = sorted(f for f in tree.files if f.endswith(".json"))
        folders = Counter(f.rpartition("/")[0] for f in tree.files if not f.endswith(".json"))
        if annotations and folders:
            ((folder, _),) = folders.most_common(1)
            return f"{text}/{annotations[0]}:{text}/{folder}".rstrip("/")
        if folders:
            ((folder, _),) = folders.most_common(1)
            return f"/data/mine/train.json:{text}/{folder}".rstrip("/")
    return "/data/mine/train.json:/data/mine/images"


def is_area(value: object) -> TypeGuard[float]:
    """Return whether a value can be the area of an object: a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= sys.float_info.max  # an integer may have hundreds of digits


def absolute_path(path: str) -> str:
    """Return a path that a saved config finds from any folder."""
    return os.path.abspath(os.path.expanduser(path))
