"""YOLO: a data.yaml, images, and beside them text files of normalized boxes or polygons.

Layout and rules are those of Ultralytics' documentation. A label file is where the last folder
``images`` in an image's path is ``labels``, else beside the image; an image without one is
background. ``classes.txt`` in place of data.yaml, as Label Studio exports it, is taken too.
"""

import logging
import os
import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import yaml

from bpt_det.data.archives import FileTree, find_tree, is_file, read_bytes
from bpt_det.data.images import is_image_name
from bpt_det.utils.errors import InputError, one_line, shorten

from .base import Shape, build_content, check_split, read_sizes, read_text

_TOLERANCE = 0.01  # by which a number may leave [0, 1], as rounding does

logger = logging.getLogger(__name__)


class YoloDataset:
    """A YOLO dataset, see the module.

    Args:
        tree: folder or archive that holds the file.
        file: ``data.yaml`` under any name, or ``classes.txt``.

    Raises:
        InputError: the file is malformed.
    """

    name = "YOLO"

    def __init__(self, tree: FileTree, file: str) -> None:
        self.tree, self.file = tree, file
        self.what = f"'{tree.file_name(file)}'"
        self.settings = self._read_settings()
        self.class_names = self._read_names()
        self.image_root = self._base

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of train, val and test that data.yaml has."""
        return tuple(s for s in ("train", "val", "test") if self.settings.get(s))

    def read(self, split: str | None) -> dict:
        """Return the content of a COCO annotation file; category ids are YOLO's class numbers."""
        check_split(self, split, self.what)
        splits = self.splits if split is None else (split,)
        images = list(dict.fromkeys(path for s in splits for path in self._images(s)))
        if not splits:
            images = _images_below(self._base)
        if not images:
            raise InputError(f"{self.what} lists no images ({', '.join(splits)}); correct it.")
        labels = {path: label_path(path) for path in images}
        present = {path for path, label in labels.items() if is_file(label)}
        if not present:
            raise InputError(
                f"{self.what}: none of the {len(images)} images has a label file, such as "
                f"'{labels[images[0]]}'; put the labels there."
            )
        logger.info("%s: %d images, %d with a label file", self.what, len(images), len(present))
        sizes = read_sizes(images)
        shapes = {
            path: list(self._shapes(labels[path], sizes[path])) if path in present else []
            for path in images
        }
        return build_content(shapes, sizes, self.class_names, self.image_root)

    def _read_settings(self) -> dict[str, Any]:
        if self.file.endswith(".txt"):
            return {"names": read_text(self.tree, self.file).split("\n")}
        text = read_text(self.tree, self.file)
        try:
            settings = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise InputError(f"{self.what} is not YAML ({one_line(error)}); correct it.") from error
        if not isinstance(settings, dict):
            raise InputError(f"{self.what} has no keys such as names and train; correct it.")
        if "validation" in settings or "valid" in settings:
            settings.setdefault("val", settings.get("validation", settings.get("valid")))
        # As they are written: to YAML, a class called no is False, and 01 is 1.
        settings["names"] = yaml.load(text, Loader=yaml.BaseLoader).get("names")
        return settings

    def _read_names(self) -> dict[int, str]:
        names = self.settings.get("names")
        if isinstance(names, list):
            names = dict(enumerate(names))
        if not isinstance(names, dict) or not all(
            str(key).isdecimal() and isinstance(name, str) for key, name in names.items()
        ):
            raise InputError(
                f"{self.what}: names must be a list, or a mapping of class numbers to names, got "
                f"{str(names)[:60]}."
            )
        named = {int(key): name.strip() for key, name in names.items()}
        named = {key: name for key, name in sorted(named.items()) if name}
        count = self.settings.get("nc")
        if isinstance(count, int) and count != len(named):
            raise InputError(f"{self.what} says nc: {count} but names {len(named)} classes.")
        return named

    @cached_property
    def _base(self) -> str:
        """The folder that the splits count from."""
        folder = posixpath.dirname(self.file)
        path = str(self.settings.get("path") or "").replace("\\", "/")
        own = self.tree.file_name(folder)
        if os.path.isabs(path) and os.path.isdir(path):
            return os.path.normpath(path)
        other = posixpath.normpath(posixpath.join(own, path))
        return other if path and find_tree(other) else own

    def _images(self, split: str) -> list[str]:
        """Return the images of a split: its setting is a folder, a list of files, or more."""
        value = self.settings[split]
        entries = value if isinstance(value, list) else [value]
        images: list[str] = []
        for entry in map(str, entries):
            path = self._find(entry.replace("\\", "/"), split)
            images += self._listed(path) if path.endswith(".txt") else _images_below(path)
        return images

    def _find(self, entry: str, split: str) -> str:
        own = self.tree.file_name(posixpath.dirname(self.file))
        inner = entry.removeprefix("./")
        names = [inner, re.sub(r"^(\.\./)+", "", inner)]  # Roboflow counts from a folder too deep
        bases = (self._base, own)
        places = [posixpath.normpath(posixpath.join(b, n)) for n in names for b in bases]
        for place in places:
            if is_file(place) or find_tree(place):
                return place
        raise InputError(
            f"{self.what}: {split}: '{entry}' does not exist in '{places[0]}'; correct it."
        )

    def _listed(self, file: str) -> list[str]:
        """Return the images that a text file lists, one on each line."""
        bases = (posixpath.dirname(file), self._base)
        images = []
        for line in read_bytes(file).decode("utf-8-sig", "replace").splitlines():
            name = line.strip().replace("\\", "/")
            if not name:
                continue
            places = [posixpath.normpath(posixpath.join(base, name)) for base in bases]
            images.append(next(filter(is_file, places), places[0]))
        missing = [path for path in images if not is_file(path)]
        if missing:
            raise InputError(
                f"'{file}': {len(missing)} of {len(images)} images do not exist "
                f"({shorten(missing)}); restore them or remove their lines."
            )
        return images

    def _shapes(self, label: str, size: tuple[int, int]) -> Iterator[Shape]:
        text = read_bytes(label).decode("utf-8-sig", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield self._shape(line.split(), size, f"'{label}', line {number}")

    def _shape(self, fields: list[str], size: tuple[int, int], where: str) -> Shape:
        try:
            values = [float(field) for field in fields]
        except ValueError as error:
            raise InputError(f"{where}: '{' '.join(fields)[:60]}' are no numbers.") from error
        category, numbers = values[0], values[1:]
        if category not in self.class_names:
            raise InputError(
                f"{where}: class {fields[0]} has no name in {self.what}, which names "
                f"{len(self.class_names)} classes ({shorten(list(self.class_names.values()))})."
            )
        if self.settings.get("kpt_shape"):
            numbers = numbers[:4]  # keypoints follow
        if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
            raise InputError(
                f"{where}: {len(fields)} numbers are neither a class and a box (5) nor a class and "
                "a polygon of 3 or more points; predictions with scores are no labels."
            )
        outside = [v for v in numbers if not -_TOLERANCE <= v <= 1 + _TOLERANCE]  # NaN is too
        if outside:
            raise InputError(
                f"{where}: {outside[0]:g} is outside 0 to 1; divide x by the image's width and y "
                "by its height."
            )
        height, width = size
        if len(numbers) > 4:
            points = [v * (height if i % 2 else width) for i, v in enumerate(numbers)]
            return Shape(int(category), polygons=[points])
        x, y, w, h = numbers
        corners = ((x - w / 2) * width, (y - h / 2) * height)
        box = (*corners, corners[0] + w * width, corners[1] + h * height)
        return Shape(int(category), box)


def label_path(image: str) -> str:
    """Return where the labels of an image are."""
    before, found, after = image.rpartition("/images/")
    path = f"{before}/labels/{after}" if found else image
    return f"{posixpath.splitext(path)[0]}.txt"


def _images_below(folder: str) -> list[str]:
    tree = find_tree(folder)
    if tree is None:
        return []
    return sorted(tree.file_name(path) for path in tree.files if is_image_name(path))
