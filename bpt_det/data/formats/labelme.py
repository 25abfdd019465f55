"""labelme: one JSON file of shapes beside each image.

A rectangle is a box; where other shapes are masks, it is a mask too, as in labelme's own export.
Shapes of one label with the same ``group_id`` are one object.
"""

import base64
import binascii
import io
import json
import logging
import math
import posixpath
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from bpt_det.data.archives import UNREADABLE, FileTree
from bpt_det.utils.errors import InputError, one_line

from .base import (
    Shape,
    build_content,
    check_split,
    encode_mask,
    merge_masks,
    read_sizes,
    read_text,
    split_by_folder,
)

_LEFT_OUT = ("__ignore__", "_background_")  # labels that mean no class
_CORNERS = 12  # of a circle, at least

logger = logging.getLogger(__name__)


class LabelmeDataset:
    """A folder of labelme's files, see the module.

    Args:
        tree: folder or archive.
        file: one of its JSON files.

    Raises:
        InputError: a file is malformed, has a shape that is no region, or lacks its picture.
    """

    name = "labelme"

    def __init__(self, tree: FileTree, file: str) -> None:
        self.tree = tree
        self.image_root = tree.file_name("")
        self.what = f"'{self.image_root}'"

    @cached_property
    def _files(self) -> dict[str, dict]:
        paths = sorted(path for path in self.tree.files if path.lower().endswith(".json"))
        contents = {path: self._load(path) for path in paths}
        return {p: c for p, c in contents.items() if isinstance(c.get("shapes"), list)}

    def _load(self, path: str) -> dict:
        try:
            content = json.loads(read_text(self.tree, path))
        except (ValueError, RecursionError) as error:
            name = self.tree.file_name(path)
            raise InputError(f"'{name}' is not JSON ({one_line(error)}); correct it.") from error
        if not isinstance(content, dict):
            return {}
        content.pop("imageData", None)  # a copy of the picture, of megabytes
        return content

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that folders are named after."""
        return tuple(split_by_folder(self._files))

    def read(self, split: str | None) -> dict:
        """Return the content of a COCO annotation file; classes are sorted by name."""
        check_split(self, split, self.what)
        files = list(self._files) if split is None else split_by_folder(self._files)[split]
        objects = {path: self._objects(path) for path in self._files}
        names = sorted({label for groups in objects.values() for label, _ in groups})
        numbers = {name: number for number, name in enumerate(names, 1)}
        images = {path: self._picture(path) for path in files}
        sizes = read_sizes(images.values())
        has_masks = any(
            shape["shape_type"] != "rectangle"
            for groups in objects.values()
            for shapes in groups.values()
            for shape in shapes
        )
        contents: dict[str, list[Shape]] = {}
        for path, image in images.items():
            self._check_size(path, sizes[image])
            merged = [
                _merge(shapes, numbers[label], sizes[image], has_masks)
                for (label, _), shapes in objects[path].items()
            ]
            if image in contents:
                raise InputError(f"{self.what}: two files are of the picture '{image}'.")
            contents[image] = merged
        by_number = {number: name for name, number in numbers.items()}
        return build_content(contents, sizes, by_number, self.image_root)

    def _objects(self, path: str) -> dict[tuple[str, object], list[dict]]:
        """Return the shapes of each object of a file, by label and group."""
        groups: dict[tuple[str, object], list[dict]] = {}
        for index, shape in enumerate(self._files[path]["shapes"]):
            where = f"'{self.tree.file_name(path)}', shape {index}"
            checked = _check_shape(shape, where)
            if checked["label"] in _LEFT_OUT:
                continue
            group = shape.get("group_id")
            key = ("alone", index) if group is None else ("group", str(group))
            groups.setdefault((checked["label"], key), []).append(checked)
        return groups

    def _picture(self, path: str) -> str:
        named = str(self._files[path].get("imagePath") or "").replace("\\", "/")
        folder = posixpath.dirname(path)
        places = [posixpath.normpath(posixpath.join(folder, named))]
        places.append(posixpath.join(folder, posixpath.basename(named)))
        for place in places:
            if named and self.tree.holds(place):
                return self.tree.file_name(place)
        raise InputError(
            f"'{self.tree.file_name(path)}': its picture '{named}' is not in {self.what}; restore "
            "it or remove the annotation file."
        )

    def _check_size(self, path: str, size: tuple[int, int]) -> None:
        content = self._files[path]
        recorded = (content.get("imageHeight"), content.get("imageWidth"))
        if None not in recorded and recorded != size:
            raise InputError(
                f"'{self.tree.file_name(path)}' is of a picture of {recorded[1]} x {recorded[0]} "
                f"pixels (width x height), which is of {size[1]} x {size[0]}; label it again."
            )


def _check_shape(shape: Any, where: str) -> dict:
    """Return a shape whose points are pairs of numbers.

    Raises:
        InputError: it is malformed, or no region.
    """
    shape = shape if isinstance(shape, dict) else {}
    label, kind = str(shape.get("label") or ""), shape.get("shape_type") or "polygon"
    points = shape.get("points")
    if not label:
        raise InputError(f"{where}: it has no label; correct it.")
    least = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}.get(kind)
    if least is None:
        raise InputError(
            f"{where} ('{label}') is a {kind}, not a polygon; draw it as polygon, rectangle, "
            "circle or mask, or remove it."
        )
    try:
        pairs = np.asarray(points, dtype=float).reshape(-1, 2)
    except (TypeError, ValueError):
        pairs = np.empty((0, 2))
    if len(pairs) < least or not np.isfinite(pairs).all() or len(pairs) != len(points):
        raise InputError(
            f"{where} ('{label}'): a {kind} needs {least} or more points x, y, got "
            f"{str(points)[:60]}."
        )
    return {
        "label": label,
        "shape_type": kind,
        "points": pairs,
        "mask": shape.get("mask"),
        "where": where,
    }


def _merge(shapes: list[dict], category: int, size: tuple[int, int], has_masks: bool) -> Shape:
    """Return one object of the shapes of its parts."""
    if all(shape["shape_type"] == "rectangle" for shape in shapes) and not has_masks:
        points = np.concatenate([shape["points"] for shape in shapes])
        low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return Shape(category, (low[0], low[1], high[0], high[1]))
    if any(shape["shape_type"] == "mask" for shape in shapes):
        return Shape(category, mask=merge_masks([_code(shape, size) for shape in shapes]))
    return Shape(category, polygons=[_polygon(shape) for shape in shapes])


def _polygon(shape: dict) -> list[float]:
    points = shape["points"]
    if shape["shape_type"] == "rectangle":
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    elif shape["shape_type"] == "circle":  # center, and a point on it
        (x, y), radius = points[0], math.dist(points[0], points[1])
        count = max(_CORNERS, math.ceil(math.pi / math.acos(1 - min(0.5, 0.5 / max(radius, 1e-6)))))
        angles = np.arange(count) * (2 * np.pi / count)
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    return [float(value) for value in points.ravel()]


def _code(shape: dict, size: tuple[int, int]) -> dict:
    if shape["shape_type"] != "mask":
        return coco_mask.merge(coco_mask.frPyObjects([_polygon(shape)], *size))
    try:
        data = base64.b64decode(str(shape["mask"]), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            part = np.array(picture.convert("L")) > 0
    except (*UNREADABLE, binascii.Error) as error:
        raise InputError(
            f"{shape['where']} ('{shape['label']}'): its mask is no picture ({one_line(error)})."
        ) from error
    whole = np.zeros(size, dtype=bool)
    x, y = (int(round(value)) for value in shape["points"].min(axis=0))
    low, right = max(y + part.shape[0], 0), max(x + part.shape[1], 0)
    target = whole[max(y, 0) : low, max(x, 0) : right]
    target |= part[max(-y, 0) :, max(-x, 0) :][: target.shape[0], : target.shape[1]]
    return encode_mask(whole)
