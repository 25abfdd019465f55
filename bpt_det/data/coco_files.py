"""Image files of a COCO dataset: found by name in folder or archive, and compared in size."""

import logging
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from bpt_det.utils.errors import InputError, shorten

from .archives import FileTree, find_tree
from .images import read_size

_MOST_OPENED = 5000  # images whose size is compared before a run; the others are when they are read

logger = logging.getLogger(__name__)


def find_image_files(
    names: Mapping[Hashable, str], root: str | os.PathLike
) -> tuple[dict[Hashable, str], list[str]]:
    """Return the path of each image below a folder, and the paths of those that are not there.

    A name that is not there stands for the one file whose name differs only in slashes (``\\``),
    in the form of its Unicode letters, in ``%20`` and the like, or in case, if no other image has
    that file. The log says how many are found so.

    Args:
        names: ``file_name`` by image id.
        root: the folder; also an archive, or a folder inside one.
    """
    files = {key: os.path.join(root, name) for key, name in names.items()}
    packed = _packed(root)
    present = _existing(files.values()) if packed is None else _members(packed, files.values())
    absent = [key for key, path in files.items() if path not in present]
    if not absent:
        return files, []
    others = _other_names(root) if packed is None else _one_of_each_form(packed.files)
    taken = Counter(os.path.normpath(path) for path in files.values() if path in present)
    renamed = {
        key: os.path.join(root, others[form])
        for key in absent
        if (form := _form(names[key])) in others
    }
    taken.update(map(os.path.normpath, renamed.values()))
    renamed = {k: path for k, path in renamed.items() if taken[os.path.normpath(path)] == 1}
    if renamed:
        first = next(iter(renamed))
        logger.warning(
            "%d of %d images are found under names that are written in another way (%s): %r is %r",
            len(renamed),
            len(names),
            _difference(names[first]),
            names[first],
            os.path.relpath(renamed[first], root),
        )
    missing = [files[key] for key in absent if key not in renamed]
    return {**files, **renamed}, missing


def _existing(paths: Iterable[str]) -> set[str]:
    """Return the paths that exist, by one listing per folder."""
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(os.path.dirname(path), []).append(path)
    existing = set()
    for folder, members in by_folder.items():
        try:
            present = set(os.listdir(folder))
        except (OSError, ValueError):
            continue
        existing |= {path for path in members if os.path.basename(path) in present}
    return existing


def _packed(root: str | os.PathLike) -> FileTree | None:
    """Return the tree of an archive or of a folder in one; None: it is a folder, or nothing."""
    return None if os.path.isdir(root) else find_tree(root)


def _members(tree: FileTree, paths: Iterable[str]) -> set[str]:
    """Return the paths that are files of an archive."""
    present = set(map(tree.file_name, tree.files))
    return {path for path in paths if path in present}


def _other_names(root: str | os.PathLike) -> dict[str, str]:
    """Return the paths below a folder, relative to it, by the form that several ways share."""
    return _one_of_each_form(
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, members in os.walk(os.fspath(root))
        for name in members
    )


def _one_of_each_form(paths: Iterable[str]) -> dict[str, str]:
    by_form: dict[str, list[str]] = {}
    for path in paths:
        by_form.setdefault(_form(path), []).append(path)
    return {form: same[0] for form, same in by_form.items() if len(same) == 1}


def _form(name: str) -> str:
    """Return what names have in common that are written in different ways."""
    path = posixpath.normpath(unquote(name).replace("\\", "/"))
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _difference(name: str) -> str:
    """Return what is unusual in a name."""
    if "\\" in name:
        return "backslashes, as on Windows"
    if unquote(name) != name:
        return "%20 and the like, as in addresses"
    return "case" if name.isascii() else "case, or another Unicode form, as on macOS"


def explain_missing(missing: Sequence[str], count: int, root: str | os.PathLike) -> str:
    """Return what is known of images that are not there, for an error."""
    text = f"{len(missing)} of {count} listed images do not exist ({shorten(missing)})"
    packed = _packed(root)
    try:
        present = set(os.listdir(root)) if packed is None else packed.files
    except OSError:
        present = set()
    last_parts = [path.replace("\\", "/").rpartition("/")[2] for path in missing]
    num_flat = sum(part in present for part in last_parts)
    if num_flat:
        text += f"; {num_flat} of them are in '{root}' itself, without the folders in their names"
    elif packed is not None:
        ending = f"/{last_parts[0]}"
        if near := next((file for file in sorted(present) if file.endswith(ending)), None):
            place = packed.file_name(near.removesuffix(ending))
            return f"{text}; give '{place}' as their folder, where the first is."
    return f"{text}. Restore them or remove them from the annotation file."


def check_image_sizes(images: Sequence[Mapping]) -> None:
    """Compare recorded sizes with those in the headers of image files; of very many, with some.

    Args:
        images: with ``file_name``, ``height`` and ``width`` each.

    Raises:
        InputError: they differ, as where height and width are swapped, or a file is no image.
    """
    chosen = images[:: max(1, -(-len(images) // _MOST_OPENED))]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        sizes = pool.map(read_size, [image["file_name"] for image in chosen])
        pairs = zip(chosen, sizes, strict=True)
        wrong = [(i, s) for i, s in pairs if s != (i["height"], i["width"])]
    if not wrong:
        return
    image, (height, width) = wrong[0]
    swapped = all(s == (i["width"], i["height"]) for i, s in wrong) and height != width
    raise InputError(
        f"{len(wrong)} of {len(chosen)} images are of another size than recorded: "
        f"'{image['file_name']}' is of {width} x {height} pixels (width x height), recorded as "
        f"{image['width']} x {image['height']}; "
        + ("width and height are swapped in the records." if swapped else "correct the records."),
        hint="check_dataset",
    )
