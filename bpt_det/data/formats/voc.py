"""Pascal VOC: an XML file of boxes for each image, and masks from SegmentationObject.

Layout: docs of the VOC2012 development kit; or each XML file beside its image, in folders by split,
as Roboflow exports it. Corners count from 1 and are inclusive, as there, unless one of the dataset
is below 1: then they are taken as coordinates from 0, as other programs write them.
"""

import logging
import posixpath
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from bpt_det.data.archives import UNREADABLE, FileTree, open_file, unreadable
from bpt_det.data.images import is_image_name
from bpt_det.utils.errors import InputError, one_line

from .base import (
    Shape,
    build_content,
    check_split,
    encode_mask,
    read_sizes,
    read_text,
    split_by_folder,
)

_VOID = 255  # of a mask: the border between objects, and objects that are left out
_LISTS = ("Main", "Segmentation")  # folders in ImageSets, the first that is there

logger = logging.getLogger(__name__)

Object = tuple[str, tuple[float, float, float, float], bool]  # name, corners, difficult


class VocDataset:
    """A Pascal VOC dataset, see the module.

    Args:
        tree: folder or archive.
        file: one of its XML files.

    Raises:
        InputError: an XML file is malformed, or its picture is not there.
    """

    name = "Pascal VOC"

    def __init__(self, tree: FileTree, file: str) -> None:
        folder = posixpath.dirname(file)
        is_kit = posixpath.basename(folder) == "Annotations"
        self._top = posixpath.dirname(folder) if is_kit else ""
        self.tree = tree.inside(self._top) if self._top else tree
        self.image_root = self.tree.file_name("")
        self.what = f"'{self.image_root}'"

    @cached_property
    def _entries(self) -> dict[str, "_Entry"]:
        """XML files by path; they are read once."""
        paths = sorted(path for path in self.tree.files if path.lower().endswith(".xml"))
        texts = {path: read_text(self.tree, path) for path in paths}
        roots = {path: _parse(text, self.tree.file_name(path)) for path, text in texts.items()}
        return {
            path: _Entry(root, self.tree.file_name(path))
            for path, root in roots.items()
            if root.tag == "annotation"
        }

    @cached_property
    def _splits(self) -> dict[str, list[str]]:
        for folder in _LISTS:
            lists = {s: f"ImageSets/{folder}/{s}.txt" for s in ("train", "val", "test")}
            found = {s: self._listed(path) for s, path in lists.items() if self.tree.holds(path)}
            found = {split: paths for split, paths in found.items() if paths}
            if found:
                return found
        return split_by_folder(self._entries)

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that ImageSets lists, or that folders are named after."""
        return tuple(self._splits)

    def read(self, split: str | None) -> dict:
        """Return the content of a COCO annotation file; classes are sorted by name."""
        check_split(self, split, self.what)
        entries = list(self._entries) if split is None else self._splits[split]
        names = sorted({name for entry in self._entries.values() for name, _, _ in entry.objects})
        numbers = {name: number for number, name in enumerate(names, 1)}
        images = {path: self._picture(path) for path in entries}
        masks = self._masks(entries)
        shift = self._shift
        shapes = {}
        for path, image in images.items():
            found = self._entries[path].shapes(numbers, shift)
            if masks:
                _add_masks(found, masks[path])
            if image in shapes:
                raise InputError(
                    f"'{self._entries[path].file}' and another file are of the picture '{image}'; "
                    "correct its filename, or remove one of them."
                )
            shapes[image] = found
        sizes = read_sizes([i for p, i in images.items() if self._entries[p].size is None])
        sizes |= {i: size for p, i in images.items() if (size := self._entries[p].size)}
        by_number = {number: name for name, number in numbers.items()}
        return build_content(shapes, sizes, by_number, self.image_root)

    @cached_property
    def _shift(self) -> float:
        """What is taken from the first corner: 1 where corners count from 1."""
        firsts = [c for e in self._entries.values() for _, box, _ in e.objects for c in box[:2]]
        return 1.0 if min(firsts, default=1) >= 1 else 0.0

    def _listed(self, file: str) -> list[str]:
        lines = [line.split() for line in read_text(self.tree, file).splitlines()]
        names = list(dict.fromkeys(line[0] for line in lines if line))
        paths = [f"Annotations/{name}.xml" for name in names]
        present = [path for path in paths if path in self._entries]
        if len(present) < len(paths):
            logger.warning(
                "'%s': %d of %d images have no annotation file; they are left out",
                self.tree.file_name(file),
                len(paths) - len(present),
                len(paths),
            )
        return present

    @cached_property
    def _pictures(self) -> dict[str, list[str]]:
        """Image files by name without folder and suffix."""
        by_stem: dict[str, list[str]] = {}
        for path in sorted(self.tree.files):
            if is_image_name(path) and not posixpath.dirname(path).endswith(("Object", "Class")):
                by_stem.setdefault(_stem(path), []).append(path)
        return by_stem

    def _picture(self, path: str) -> str:
        """Return the image of an XML file: the one it names in its folders, or of its own name."""
        entry = self._entries[path]
        folder = posixpath.dirname(path)
        named = entry.file_name or f"{_stem(path)}.jpg"
        for place in (posixpath.join("JPEGImages", named), posixpath.join(folder, named)):
            if self.tree.holds(place):
                return self.tree.file_name(place)
        for stem in (_stem(named), _stem(path)):
            found = self._pictures.get(stem, [])
            near = [f for f in found if posixpath.dirname(f) == folder] or found
            if len(near) == 1:
                return self.tree.file_name(near[0])
        raise InputError(
            f"'{entry.file}': its picture '{named}' is not in {self.what}; restore it or remove "
            "the annotation file."
        )

    def _masks(self, entries: Sequence[str]) -> dict[str, np.ndarray]:
        """Return object numbers of pixels (H, W) by XML file; {} unless all images have them."""
        with_objects = [path for path in entries if self._entries[path].objects]
        files = {path: f"SegmentationObject/{_stem(path)}.png" for path in entries}
        present = [path for path in with_objects if self.tree.holds(files[path])]
        if not present:
            return {}
        if len(present) < len(with_objects):
            logger.warning(
                "%s: %d of %d images have masks in SegmentationObject: boxes alone are read",
                self.what,
                len(present),
                len(with_objects),
            )
            return {}
        return {
            path: _read_numbers(self.tree.file_name(files[path]))
            if path in present
            else np.zeros((1, 1))
            for path in entries
        }


class _Entry:
    """An XML file: the name and size of its image, and its objects."""

    def __init__(self, root: ElementTree.Element, file: str) -> None:
        self.file = file
        named = (root.findtext("filename") or "").strip().replace("\\", "/")
        self.file_name = posixpath.basename(named)
        self.size = self._read_size(root)
        self.objects = [self._read_object(element) for element in root.iter("object")]

    def _read_size(self, root: ElementTree.Element) -> tuple[int, int] | None:
        texts = [root.findtext(f"size/{key}") or "" for key in ("height", "width")]
        sides = [int(text) if text.strip().isdecimal() else 0 for text in texts]
        return (sides[0], sides[1]) if min(sides) > 0 else None

    def _read_object(self, element: ElementTree.Element) -> Object:
        name = (element.findtext("name") or "").strip()
        if not name:
            raise InputError(f"'{self.file}': an object has no name; correct it.")
        texts = [element.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x0, y0, x1, y1 = (float(str(text)) for text in texts)
        except ValueError as error:
            raise InputError(
                f"'{self.file}': the box of '{name}' is {texts}, not four numbers; correct it."
            ) from error
        is_difficult = (element.findtext("difficult") or "").strip() == "1"
        return name, (x0, y0, x1, y1), is_difficult

    def shapes(self, numbers: dict[str, int], shift: float) -> list[Shape]:
        """Return the objects; those that are difficult are ignored, as VOC's evaluation does."""
        return [
            Shape(numbers[name], (x0 - shift, y0 - shift, x1, y1), is_crowd=is_difficult)
            for name, (x0, y0, x1, y1), is_difficult in self.objects
        ]


def _parse(text: str, name: str) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"'{name}' defines entities, which annotations do not need; remove them.")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"'{name}' is not XML ({one_line(error)}); correct it.") from error


def _read_numbers(name: str) -> np.ndarray:
    """Return the object numbers that a PNG of SegmentationObject holds, (H, W)."""
    try:
        with open_file(name) as stream, Image.open(stream, formats=["PNG"]) as image:
            if image.mode not in ("P", "L"):
                raise InputError(
                    f"'{name}' is of mode {image.mode}, not object numbers of 8 bits; save it with "
                    "a palette."
                )
            return np.array(image)
    except UNREADABLE as error:
        raise unreadable(name, error) from error


def _add_masks(shapes: list[Shape], numbers: np.ndarray) -> None:
    """Give objects their masks; object i of the XML file has the number i in the picture."""
    for number, shape in enumerate(shapes, 1):
        shape.mask = encode_mask((numbers == number) & (numbers != _VOID))


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]
