"""Class folders: ImageNet and any other folder with one folder per class."""

import logging
from collections import Counter
from pathlib import PurePosixPath

from bpt_det.data.archives import FileTree
from bpt_det.data.images import IMAGE_SUFFIXES
from bpt_det.data.splits import SPLITS, LabeledImage, Layout, LayoutError
from bpt_det.utils.errors import InputError, shorten

logger = logging.getLogger(__name__)


def read_class_folders(tree: FileTree) -> Layout:
    """Read class folders, either below ``train/`` (and ``val/``, ``test/``) or directly.

    A class is all images in or below its folder; other files are left out. Where there is no
    ``val/`` and no ``test/`` the layout does not have that split.

    Raises:
        InputError: there are no class folders, one is empty, or ``val/`` has a class of its own.
    """
    splits = [split for split in SPLITS if split in tree.folders]
    if splits and "train" not in splits:
        raise InputError(f"'{tree.file_name('train')}' is missing; {tree.advice}")
    tops = {split: f"{split}/" for split in splits} or {"train": ""}
    images = [image for split, top in tops.items() for image in _images_below(tree, split, top)]
    class_ids = sorted(_class_folders(tree, tops["train"]))
    _check_classes(tree, images, class_ids, tops)
    _report_other_files(tree, tops)
    names = {class_id: class_id for class_id in class_ids}
    return Layout(images, names, tree.file_name(""), tuple(tops))


def _class_folders(tree: FileTree, top: str) -> set[str]:
    inside = (folder.removeprefix(top) for folder in tree.folders if folder.startswith(top))
    return {folder.split("/")[0] for folder in inside if folder}


def _images_below(tree: FileTree, split: str, top: str) -> list[LabeledImage]:
    return [
        LabeledImage(path, path.removeprefix(top).split("/")[0], split)
        for path in sorted(tree.files)
        if path.startswith(top)
        and "/" in path.removeprefix(top)
        and path.lower().endswith(IMAGE_SUFFIXES)
    ]


def _report_other_files(tree: FileTree, tops: dict[str, str]) -> None:
    """Warn of files in class folders that are left out, as images of another format would be."""
    others = Counter(
        PurePosixPath(path).suffix.lower() or "no suffix"
        for top in tops.values()
        for path in tree.files
        if path.startswith(top)
        and "/" in path.removeprefix(top)
        and not path.lower().endswith(IMAGE_SUFFIXES)
    )
    if others:
        known = ", ".join(IMAGE_SUFFIXES)
        logger.warning(
            "%d files in class folders of '%s' are left out (%s); images are %s",
            others.total(),
            tree.file_name(""),
            shorten(sorted(others)),
            known,
        )


def _check_classes(
    tree: FileTree, images: list[LabeledImage], class_ids: list[str], tops: dict[str, str]
) -> None:
    if not class_ids:
        raise InputError(f"'{tree.file_name(tops['train'])}' has no class folders; {tree.advice}")
    with_images = {image.class_id for image in images if image.split == "train"}
    empty = [class_id for class_id in class_ids if class_id not in with_images]
    if empty:
        raise InputError(
            f"{len(empty)} class folders of '{tree.file_name(tops['train'])}' have no image: "
            f"{shorten(empty)}; fill or remove them"
        )
    for split, top in tops.items():
        present = {image.class_id for image in images if image.split == split}
        if not present:
            raise InputError(
                f"'{tree.file_name(top)}' has no images in class folders; sort its images into "
                f"one folder per class, as in '{tree.file_name(tops['train'])}'"
            )
        unknown = sorted(present - set(class_ids))
        if unknown:
            raise LayoutError(
                f"'{tree.file_name(top)}' has classes that train/ lacks: {shorten(unknown)}"
            )
