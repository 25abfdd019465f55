"""MATLAB lists of Oxford Flowers, Stanford Dogs and Stanford Cars."""

import io

import numpy as np
import scipy.io

from bpt_det.data.archives import FileTree
from bpt_det.data.splits import LabeledImage, Layout, LayoutError
from bpt_det.utils.errors import InputError, one_line, shorten

FLOWERS_FILES = ("setid.mat", "imagelabels.mat")
DOGS_FILES = ("lists/train_list.mat", "lists/test_list.mat")
CARS_FILES = (
    "devkit/cars_train_annos.mat",
    "devkit/cars_test_annos_withlabels.mat",
    "devkit/cars_meta.mat",
)
OLD_CARS_FILE = "cars_annos.mat"  # beside a folder car_ims


def read_flowers(tree: FileTree) -> Layout:
    """Read Oxford Flowers 102, which has an official validation split and no class names.

    Raises:
        InputError: a file is missing or malformed, or a label is out of range.
    """
    labels = _read_field(tree, "imagelabels.mat", "labels").astype(int)
    images = []
    for split, field in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        for number in _read_field(tree, "setid.mat", field).astype(int).tolist():
            if not 1 <= number <= len(labels):
                raise LayoutError(
                    f"'{tree.file_name('setid.mat')}' names image {number}, but imagelabels.mat "
                    f"has labels of images 1 to {len(labels)}"
                )
            path = f"jpg/image_{number:05d}.jpg"
            images.append(LabeledImage(path, int(labels[number - 1]), split))
    _check_labels(tree, "imagelabels.mat", images, 102)
    names = {i: f"flower {i}" for i in sorted({image.class_id for image in images})}
    return Layout(images, names, tree.file_name("setid.mat"), ("train", "val", "test"))


def read_dogs(tree: FileTree) -> Layout:
    """Read Stanford Dogs; a class is named by its folder (``n02085620-Chihuahua``).

    Raises:
        InputError: a file is missing or malformed, or a label is out of range.
    """
    images, names = [], {}
    for split, file in zip(("train", "test"), DOGS_FILES, strict=True):
        paths = _read_field(tree, file, "file_list").tolist()
        labels = _read_field(tree, file, "labels").astype(int).tolist()
        if len(paths) != len(labels):
            raise LayoutError(
                f"'{tree.file_name(file)}' has {len(paths)} files and {len(labels)} labels"
            )
        part = [
            LabeledImage(f"Images/{path}", label, split)
            for path, label in zip(paths, labels, strict=True)
        ]
        _check_labels(tree, file, part, 120)
        images += part
        names |= {i.class_id: i.path.split("/")[1].partition("-")[2] for i in part}
    return Layout(images, names, tree.file_name("lists"), ("train", "test"))


def read_cars(tree: FileTree) -> Layout:
    """Read Stanford Cars; the test labels are a file of their own, in ``devkit`` or beside it.

    The older layout, with all images in one list, is read as well.

    Raises:
        InputError: a file is missing or malformed, a label is out of range, or a class is empty.
    """
    if tree.holds(OLD_CARS_FILE):
        return _read_old_cars(tree)
    names = _read_field(tree, CARS_FILES[2], "class_names").tolist()
    images = []
    for split, file in zip(("train", "test"), CARS_FILES, strict=False):
        beside = file.removeprefix("devkit/")
        file = beside if not tree.holds(file) and tree.holds(beside) else file
        annotations = _read_field(tree, file, "annotations")
        fields = annotations.dtype.names or ()
        if "class" not in fields or "fname" not in fields:
            raise LayoutError(f"'{tree.file_name(file)}' has no 'class' or no 'fname' field")
        part = [
            LabeledImage(f"cars_{split}/{path}", int(label), split)
            for path, label in zip(annotations["fname"], annotations["class"], strict=True)
        ]
        _check_labels(tree, file, part, len(names))
        images += part
    return _to_cars(tree, CARS_FILES[2], images, names)


def _read_old_cars(tree: FileTree) -> Layout:
    """Read the layout in which one list tells the split of each image (``test`` is 0 or 1)."""
    names = _read_field(tree, OLD_CARS_FILE, "class_names").tolist()
    annotations = _read_field(tree, OLD_CARS_FILE, "annotations")
    fields = ("relative_im_path", "class", "test")
    if not set(fields) <= set(annotations.dtype.names or ()):
        raise LayoutError(f"'{tree.file_name(OLD_CARS_FILE)}' lacks one of {', '.join(fields)}")
    columns = (annotations[field] for field in fields)
    images = [
        LabeledImage(str(path), int(label), "test" if is_test else "train")
        for path, label, is_test in zip(*columns, strict=True)
    ]
    _check_labels(tree, OLD_CARS_FILE, images, len(names))
    return _to_cars(tree, OLD_CARS_FILE, images, names)


def _to_cars(tree: FileTree, file: str, images: list[LabeledImage], names: list[str]) -> Layout:
    used = {image.class_id for image in images}
    empty = [f"{i} {name}" for i, name in enumerate(names, 1) if i not in used]
    if empty:
        raise InputError(
            f"{len(empty)} classes of '{tree.file_name(file)}' have no image: "
            f"{shorten(empty)}; {tree.advice}"
        )
    source = tree.file_name(file if file == OLD_CARS_FILE else "devkit")
    return Layout(images, dict(enumerate(names, 1)), source, ("train", "test"))


def _read_field(tree: FileTree, path: str, field: str) -> np.ndarray:
    data = tree.read(path)
    try:
        content = scipy.io.loadmat(io.BytesIO(data), squeeze_me=True, variable_names=[field])
    except Exception as error:  # the reader raises whatever a damaged file leads it to
        raise InputError(
            f"'{tree.file_name(path)}' cannot be read as a MATLAB file ({one_line(error)}); "
            f"{tree.advice}"
        ) from error
    if field not in content:
        raise InputError(f"'{tree.file_name(path)}' has no variable '{field}'; {tree.advice}")
    return np.atleast_1d(content[field])


def _check_labels(tree: FileTree, path: str, images: list[LabeledImage], highest: int) -> None:
    for image in images:
        if not 1 <= image.class_id <= highest:
            raise LayoutError(
                f"'{tree.file_name(path)}' gives '{image.path}' the label {image.class_id}, "
                f"but labels are 1 to {highest}"
            )
