"""Miniature classification datasets in their official layouts.

Three classes of different sizes; every image has a color of its own, so a mix-up shows.
"""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

TRAIN_SIZES = (4, 10, 16)  # a tenth of them: 3 validation images
VAL_SIZES = (3, 1, 2)  # of Flowers, which has an official validation split
TEST_SIZES = (2, 3, 5)


def write_image(path, color):
    """Write an image of 6 x 8 pixels (H, W) in one color, without loss whatever its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), color, np.uint8)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def _color(number):
    return (number % 256, 255 - number % 256, 7 * number % 256)


def _write_birds(root, class_names, image_id, folder):
    tables = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    number = 0
    sizes = zip(class_names, TRAIN_SIZES, TEST_SIZES, strict=True)
    for class_id, train_size, test_size in sizes:
        for position in range(train_size + test_size):
            number += 1
            path = f"{folder(class_id)}/bird_{number:04d}.jpg"
            write_image(root / "images" / path, _color(number))
            tables["images"].append(f"{image_id(number)} {path}")
            tables["image_class_labels"].append(f"{image_id(number)} {class_id}")
            tables["train_test_split"].append(f"{image_id(number)} {int(position < train_size)}")
    for name, lines in tables.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")


def write_cub(root):
    """CUB-200-2011: class ids with gaps, as in a subset."""
    names = {2: "002.Laysan", 5: "005.Crested", 11: "011.Rusty"}
    _write_birds(root, names, str, names.get)
    (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in names.items()))
    return root


def write_nabirds(root):
    """NABirds: hexadecimal image ids, and classes that are inner nodes of a taxonomy."""
    names = {295: "Ruddy Duck", 446: "Cooper's Hawk (Adult)", 1010: "Painted Bunting"}

    def image_id(number):
        return f"{number:08x}-821c-4d0c-bfe1-4cae3c85c829"

    _write_birds(root, names, image_id, lambda class_id: f"{class_id:04d}")
    lines = [f"{i} {name}\n" for i, name in {0: "Birds", 9: "Hawks", **names}.items()]
    (root / "classes.txt").write_text("".join(lines))
    return root


def write_flowers(root):
    """Oxford Flowers: image numbers in three lists, labels of all images in one."""
    labels, parts, number = [], {"trnid": [], "valid": [], "tstid": []}, 0
    for field, sizes in (("tstid", TEST_SIZES), ("trnid", TRAIN_SIZES), ("valid", VAL_SIZES)):
        for class_id, size in zip((1, 2, 3), sizes, strict=True):
            for _ in range(size):
                number += 1
                write_image(root / f"jpg/image_{number:05d}.jpg", _color(number))
                parts[field].append(number)
                labels.append(class_id)
    scipy.io.savemat(root / "setid.mat", {k: np.array([v], np.uint16) for k, v in parts.items()})
    scipy.io.savemat(root / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    return root


def write_dogs(root):
    """Stanford Dogs: two lists of files as cells, with labels."""
    folders = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02099601-golden_retriever")
    (root / "lists").mkdir(parents=True)
    number = 0
    for split, sizes in (("train", TRAIN_SIZES), ("test", TEST_SIZES)):
        files, labels = [], []
        for class_id, (folder, size) in enumerate(zip(folders, sizes, strict=True), 1):
            for _ in range(size):
                number += 1
                files.append(f"{folder}/{folder[:9]}_{number}.jpg")
                labels.append([class_id])
                write_image(root / "Images" / files[-1], _color(number))
        cells = np.empty((len(files), 1), object)
        cells[:, 0] = files
        content = {"file_list": cells, "labels": np.array(labels, np.float64)}
        scipy.io.savemat(root / f"lists/{split}_list.mat", content)
    return root


def write_cars(root, *, test_list="devkit/cars_test_annos_withlabels.mat"):
    """Stanford Cars: struct arrays; the test labels lie in the devkit or beside it."""
    (root / "devkit").mkdir(parents=True)
    names = np.empty((1, 3), object)
    names[0] = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo 2012"]
    scipy.io.savemat(root / "devkit/cars_meta.mat", {"class_names": names})
    lists = (("train", TRAIN_SIZES, "devkit/cars_train_annos.mat"), ("test", TEST_SIZES, test_list))
    for split, sizes, file in lists:
        labels = [c for c, size in enumerate(sizes, 1) for _ in range(size)]
        annotations = np.empty(
            (1, len(labels)), [("bbox_x1", object), ("class", object), ("fname", object)]
        )
        for number, label in enumerate(labels, 1):
            annotations[0, number - 1] = (39, label, f"{number:05d}.jpg")
            color = _color(number + 100 * (split == "test"))
            write_image(root / f"cars_{split}" / f"{number:05d}.jpg", color)
        scipy.io.savemat(root / file, {"annotations": annotations})
    return root


def write_old_cars(root):
    """Stanford Cars in the older layout: all images in one folder and one list."""
    names = np.empty((1, 3), object)
    names[0] = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo 2012"]
    rows = [
        (label, split == "test")
        for label, sizes in enumerate(zip(TRAIN_SIZES, TEST_SIZES, strict=True), 1)
        for split, size in zip(("train", "test"), sizes, strict=True)
        for _ in range(size)
    ]
    fields = ("relative_im_path", "bbox_x1", "class", "test")
    annotations = np.empty((1, len(rows)), [(field, object) for field in fields])
    for number, (label, is_test) in enumerate(rows, 1):
        path = f"car_ims/{number:06d}.jpg"
        annotations[0, number - 1] = (path, 39, label, int(is_test))
        write_image(root / path, _color(number))
    content = {"annotations": annotations, "class_names": names}
    scipy.io.savemat(root / "cars_annos.mat", content)
    return root


def write_class_folders(root, splits=("train", "val")):
    """ImageNet's layout; ``splits=("",)`` puts the class folders at the top."""
    number = 0
    for split, sizes in zip(splits, (TRAIN_SIZES, TEST_SIZES, VAL_SIZES), strict=False):
        for wnid, size in zip(("n01440764", "n01443537", "n02119789"), sizes, strict=True):
            for _ in range(size):
                number += 1
                write_image(root / split / wnid / f"{wnid}_{number}.JPEG", _color(number))
    return root


# By name of a dataset; the first ones list their images in files.
LIST_WRITERS = {
    "cub": write_cub,
    "nabirds": write_nabirds,
    "flowers": write_flowers,
    "dogs": write_dogs,
    "cars": write_cars,
}
WRITERS = {**LIST_WRITERS, "imagenet": write_class_folders}


def write_split_files(root, train, val, test):
    """VPT's files: {image: class id}."""
    for split, labels in (("train", train), ("val", val), ("test", test)):
        (root / f"{split}.json").write_text(json.dumps(labels))


def zip_tree(root: Path, archive: Path, inside: str = ""):
    """Pack a tree into an archive, in a folder ``inside`` it."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            file.write(path, (Path(inside) / path.relative_to(root)).as_posix())
        file.writestr("__MACOSX/._images.txt", b"what macOS adds")
    return archive
