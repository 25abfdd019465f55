"""Split files of VPT: ``train.json``, ``val.json``, ``test.json`` with {image: class id}.

They may lie beside any layout.

Format: KMnP/vpt@7f3942e src/data/datasets/json_dataset.py:49-80. Class ids may begin at 0 or 1 and
may have gaps; images are named from the image folder or from the dataset's own.
"""

import json
import reprlib
from collections import defaultdict

from bpt_det.data.archives import FileTree
from bpt_det.data.splits import SPLITS, LabeledImage, Layout, LayoutError
from bpt_det.utils.errors import InputError, one_line, shorten

SPLIT_FILES = tuple(f"{split}.json" for split in SPLITS)
_IMAGE_FOLDERS = ("", "images/", "Images/", "jpg/")


def has_split_files(tree: FileTree) -> bool:
    """Say whether one or more of the three files are there."""
    return any(tree.holds(file) for file in SPLIT_FILES)


def read_split_files(tree: FileTree, official: Layout | None, highest: int | None) -> Layout:
    """Read the three files; the classes are those of ``train.json``.

    A class is named as in the official lists where these are there, or else by the folder of its
    images, or else by its id.

    Args:
        official: what the official lists say, or None where they are absent.
        highest: largest class id there can be, or None.

    Raises:
        InputError: a file is missing or malformed, a label is out of range, an image is missing or
            in two splits, or images of one class belong to different ones in the official lists.
    """
    missing = [file for file in SPLIT_FILES if not tree.holds(file)]
    if missing:
        raise InputError(
            f"'{tree.file_name(missing[0])}' is missing beside the other split files; add it (see "
            "the README of https://github.com/KMnP/vpt), or remove the others to have a validation "
            "split drawn"
        )
    images: list[LabeledImage] = []
    for split, file in zip(SPLITS, SPLIT_FILES, strict=True):
        labels = _read_labels(tree, file, highest)
        paths = _find_images(tree, file, list(labels))
        images += [
            LabeledImage(path, label, split)
            for path, label in zip(paths, labels.values(), strict=True)
        ]
    _check_splits(tree, images)
    names = _name_classes(tree, images, official)
    return Layout(images, names, tree.file_name("train.json"), SPLITS)


def _read_labels(tree: FileTree, file: str, highest: int | None) -> dict[str, int]:
    try:
        labels = json.loads(tree.read(file))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"'{tree.file_name(file)}' cannot be read as JSON ({one_line(error)}); get it again"
        ) from error
    if not isinstance(labels, dict) or not labels:
        raise LayoutError(f"'{tree.file_name(file)}' should hold {{image: class id}} and does not")
    for path, label in labels.items():
        whole = isinstance(label, int) and not isinstance(label, bool)
        if not whole or label < 0 or (highest is not None and label > highest):
            limit = "0 or more" if highest is None else f"0 or 1 to {highest}"
            raise LayoutError(
                f"'{tree.file_name(file)}' gives '{path}' the label {reprlib.repr(label)}, "
                f"but labels are integers, {limit}"
            )
    return labels


def _find_images(tree: FileTree, file: str, names: list[str]) -> list[str]:
    paths = []
    for name in names:
        places = [folder + name.removeprefix("./") for folder in _IMAGE_FOLDERS]
        paths.append(next((place for place in places if place in tree.files), name))
    tree.require(paths, f"'{tree.file_name(file)}'")
    return paths


def _check_splits(tree: FileTree, images: list[LabeledImage]) -> None:
    first: dict[str, LabeledImage] = {}
    known = {image.class_id for image in images if image.split == "train"}
    for image in images:
        other = first.setdefault(image.path, image)
        if other is not image:
            raise InputError(
                f"image '{image.path}' is both in '{tree.file_name(other.split)}.json' and in "
                f"{image.split}.json; training on it would spoil the evaluation"
            )
        if image.class_id not in known:
            raise LayoutError(
                f"'{tree.file_name(image.split)}.json' gives '{image.path}' the label "
                f"{image.class_id}, which no image of train.json has"
            )


def _name_classes(
    tree: FileTree, images: list[LabeledImage], official: Layout | None
) -> dict[int | str, str]:
    official_ids = {image.path: image.class_id for image in official.images} if official else {}
    listed, folders = defaultdict(set), defaultdict(set)
    for image in images:
        if image.path in official_ids:
            listed[image.class_id].add(official_ids[image.path])
        folders[image.class_id].add(image.path.split("/")[-2] if "/" in image.path else "")
    mixed = [str(class_id) for class_id, official_ids in listed.items() if len(official_ids) > 1]
    if mixed:
        raise LayoutError(
            f"'{tree.file_name('train.json')}' and its companions put images of different classes "
            f"of '{official.source}' under one label: {shorten(mixed)}"
        )
    by_folder = len(set.union(*folders.values())) == len(folders)
    names = {}
    for class_id in sorted(folders):
        if class_id in listed:
            names[class_id] = official.class_names[next(iter(listed[class_id]))]
        elif by_folder and len(folders[class_id]) == 1:
            names[class_id] = next(iter(folders[class_id]))
        else:
            names[class_id] = f"class {class_id}"
    return names
