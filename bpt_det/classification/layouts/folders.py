"""Class folders: ImageNet and any other folder with one folder per class."""

import logging
from collections.abc import Iterable

from bpt_det.data.archives import FileTree
from bpt_det.data.images import is_image_name, select_images
from bpt_det.data.splits import SPLIT_NAMES, SPLITS, LabeledImage, Layout, LayoutError
from bpt_det.utils.errors import InputError, shorten

logger = logging.getLogger(__name__)


def read_class_folders(tree: FileTree) -> Layout:
    """Read class folders, either below ``train/`` (and ``val/``, ``test/``) or directly.

    Folders of splits may be called ``Train/``, ``valid/`` and so on. A class is all images in or
    below its folder; other files are left out, which is logged. Where there is no ``val/`` and no
    ``test/`` the layout does not have that split.

    Raises:
        InputError: there are no class folders, one is empty, ``val/`` has a class of its own, or
            two folders hold the same split.
    """
    tops = find_splits(tree.folders, tree.file_name(""))
    if tops and "train" not in tops:
        raise InputError(f"'{tree.file_name('train')}' is missing; {tree.advice}")
    _report_outside(tree, tops)
    tops = tops or {"train": ""}
    inside = (path for path in tree.files if _is_below(path, tops.values()))
    files = select_images(inside, tree.left_out, f"class folders of '{tree.file_name('')}'")
    images = [image for split, top in tops.items() for image in _images_below(files, split, top)]
    class_ids = sorted(_class_folders(tree, tops["train"]))
    _check_classes(tree, images, class_ids, tops)
    names = {class_id: class_id for class_id in class_ids}
    return Layout(images, names, tree.file_name(""), tuple(tops))


def find_splits(folders: Iterable[str], where: str) -> dict[str, str]:
    """Return the folders of the splits, with a closing slash, in the order of `SPLITS`.

    Args:
        folders: all folders of a tree; those at its top count.
        where: the tree, for the error.

    Raises:
        InputError: two folders hold the same split.
    """
    tops: dict[str, str] = {}
    for folder in sorted(folders):
        split = SPLIT_NAMES.get(folder.lower())
        if split is None:
            continue
        if split in tops:
            raise InputError(
                f"'{where}' has both {tops[split]} and {folder}/ for the split '{split}'; rename "
                "or remove one of them"
            )
        tops[split] = f"{folder}/"
    return {split: tops[split] for split in SPLITS if split in tops}


def _class_folders(tree: FileTree, top: str) -> set[str]:
    inside = (folder.removeprefix(top) for folder in tree.folders if folder.startswith(top))
    return {folder.split("/")[0] for folder in inside if folder}


def _images_below(files: Iterable[str], split: str, top: str) -> list[LabeledImage]:
    return [
        LabeledImage(path, path.removeprefix(top).split("/")[0], split)
        for path in files
        if _is_below(path, [top])
    ]


def _is_below(path: str, tops: Iterable[str]) -> bool:
    """Whether a file is in or below a class folder, which lie in these folders."""
    return any(path.startswith(top) and "/" in path.removeprefix(top) for top in tops)


def _report_outside(tree: FileTree, tops: dict[str, str]) -> None:
    """Warn of folders beside those of the splits, and of images outside of class folders."""
    where = tree.file_name("")
    beside = sorted(f for f in tree.folders if "/" not in f and f"{f}/" not in tops.values())
    beside = beside if tops else []
    if beside:
        text = "'%s': folders beside those of the splits are left out: %s"
        logger.warning(text, where, shorten(beside))
    prefixes = tuple(f"{folder}/" for folder in beside)
    outside = [
        path
        for path in tree.files
        if is_image_name(path)
        and not path.startswith(prefixes)
        and not _is_below(path, tops.values() or [""])
    ]
    if outside:
        text = "'%s': %d images outside of class folders are left out: %s"
        logger.warning(text, where, len(outside), shorten(sorted(outside)))


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
