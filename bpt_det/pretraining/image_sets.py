"""Image sets to pre-train on, without labels: any folder, zip archive, or COCO-format dataset."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from bpt_det.data.archives import FileTree, find_tree
from bpt_det.data.coco import absolute_path, read_annotation_file, split_source
from bpt_det.data.images import IMAGE_SUFFIXES, select_images
from bpt_det.data.splits import in_hash_order
from bpt_det.utils.errors import InputError, shorten

logger = logging.getLogger(__name__)

HELD_OUT_SHARE, MOST_HELD_OUT = 0.02, 500


def load_images(train: str, val: str | None = None, *, split: str = "train") -> list[dict]:
    """Return one record for each image of a split: ``file_name`` (for `read_rgb`), ``image_id``.

    Args:
        train: source of the training images: a folder or a zip archive, all images below which
            count, or ``FILE.json:FOLDER``, the images that an annotation file in COCO's format
            lists.
        val: source of the images to evaluate on. None holds out 2 %, at most 500, of those of
            ``train``, chosen by a hash of their paths.
        split: ``train`` or ``val``.

    Raises:
        InputError: a source is missing, holds no image, or lists images that are not there.
    """
    return read_images(train, val)[split]


def read_images(
    train: str, val: str | None = None, *, options: tuple[str, str] = ("train", "val")
) -> dict[str, list[dict]]:
    """Return the records of both splits, ``train`` and ``val``, see `load_images`.

    Args:
        train, val: of `load_images`.
        options: what the caller calls them, for errors.

    Raises:
        InputError: as of `load_images`.
    """
    records = _records(train, options[0])
    if val is not None:
        splits = {"train": records, "val": _records(val, options[1])}
    else:
        splits = _hold_out(records, options)
    for split, chosen in splits.items():
        source = val if split == "val" and val is not None else train
        logger.debug("%s: %d images of '%s'", split, len(chosen), source)
    return splits


def absolute_source(source: str, option: str) -> str:
    """Return a source with absolute paths, so that a saved config works in any folder.

    Args:
        source: see `load_images`.
        option: what it was given with, for the error.

    Raises:
        InputError: it is not a text.
    """
    _check_text(source, option)
    if _is_annotated(source):
        return ":".join(split_source(source, f"{option}="))
    return absolute_path(source)


def _check_text(source: object, option: str) -> None:
    if not isinstance(source, str) or not source:
        raise InputError(
            f"{option}={'' if source is None else source} names no images; give a folder, a zip "
            "archive, or FILE.json:FOLDER."
        )


def _is_annotated(source: str) -> bool:
    return ".json:" in source and not Path(source).exists()


def _hold_out(records: list[dict], options: tuple[str, str]) -> dict[str, list[dict]]:
    if len(records) < 2:
        raise InputError(f"{options[0]} holds a single image; name others with {options[1]}.")
    count = min(MOST_HELD_OUT, max(1, round(HELD_OUT_SHARE * len(records))))
    held_out = set(in_hash_order([record["image_id"] for record in records], seed=0)[:count])
    return {
        split: [r for r in records if (r["image_id"] in held_out) == (split == "val")]
        for split in ("train", "val")
    }


def _records(source: str, option: str) -> list[dict]:
    _check_text(source, option)
    if _is_annotated(source):
        tree, paths = _listed_images(*split_source(source, f"{option}="), option)
    else:
        tree, paths = _all_images(source, option)
    return [{"file_name": tree.file_name(path), "image_id": path} for path in paths]


def _all_images(source: str, option: str) -> tuple[FileTree, list[str]]:
    root = Path(source).expanduser()
    if not os.path.exists(root):
        raise InputError(f"{option}: '{source}' does not exist; correct the path.")
    tree = FileTree(root)
    paths = select_images(tree.files, tree.left_out, f"{option} '{source}'")
    if not paths:
        raise InputError(
            f"{option}: '{source}' holds no images; files that end in "
            f"{', '.join(IMAGE_SUFFIXES)} count, in subfolders too."
        )
    return tree, paths


def _listed_images(json_file: str, folder: str, option: str) -> tuple[FileTree, Sequence[str]]:
    images = read_annotation_file(json_file)["images"]
    try:
        paths = sorted({image["file_name"] for image in images})
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{option}: annotation file '{json_file}' has an image without a file_name.",
            hint="check_dataset",
        ) from error
    if not paths:
        raise InputError(f"{option}: annotation file '{json_file}' lists no images; give another.")
    tree = find_tree(folder)
    if tree is None:
        raise InputError(f"{option}: image folder '{folder}' does not exist; correct the path.")
    missing = [path for path in paths if not tree.holds(path)]
    if missing:
        raise InputError(
            f"{option}: {len(missing)} of the {len(paths)} images of '{json_file}' are missing "
            f"below '{folder}': {shorten(missing)}; copy them there."
        )
    return tree, paths
