"""Formatted dataset: what each format's reader offers, and the COCO content that it yields."""

import contextlib
import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pycocotools import mask as coco_mask

from bpt_det.data.archives import FileTree
from bpt_det.data.images import read_size
from bpt_det.data.splits import SPLIT_NAMES
from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import progress_bar

# A declaration that is legible as bytes is not in UTF-16, whatever it says (C# writes so).
_XML_ENCODING = re.compile(rb"""\s*<\?xml[^>]*\sencoding=["'](?!utf-?16|ucs)([\w.-]+)""", re.I)


class FormattedDataset(Protocol):
    """A dataset on disk in some format.

    Attributes:
        name: of the format, for people.
        splits: of the dataset's own, out of train, val and test; empty where it has none.
    """

    name: str

    @property
    def image_root(self) -> str:
        """Folder or archive that the names of images count from."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The dataset's own splits."""

    def read(self, split: str | None) -> dict:
        """Return the content of a COCO annotation file: of a split, or None: of all images."""


@dataclass
class Shape:
    """An object as a label file has it.

    Args:
        category: id of its class.
        box: x0, y0, x1, y1 in pixels; None: that of the mask.
        polygons: of its mask, each [x, y, x, y, ...] in pixels.
        mask: run-length code of its mask, in place of polygons.
        is_crowd: whether it is ignored in training and evaluation.
    """

    category: int
    box: tuple[float, float, float, float] | None = None
    polygons: list[list[float]] = field(default_factory=list)
    mask: dict | None = None
    is_crowd: bool = False

    def annotation(self) -> dict[str, Any]:
        """Return COCO's annotation, without ids."""
        fields: dict[str, Any] = {"category_id": self.category, "iscrowd": int(self.is_crowd)}
        if self.mask is not None:
            fields["segmentation"] = self.mask
            fields["area"] = float(coco_mask.area(self.mask))
            fields["bbox"] = [float(value) for value in coco_mask.toBbox(self.mask)]
        elif self.polygons:
            points = np.concatenate([np.reshape(p, (-1, 2)) for p in self.polygons])
            low, high = points.min(axis=0), points.max(axis=0)
            fields["segmentation"] = self.polygons
            fields["area"] = sum(map(polygon_area, self.polygons))
            fields["bbox"] = [*low.tolist(), *(high - low).tolist()]
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            fields["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            fields.setdefault("area", (x1 - x0) * (y1 - y0))
        return fields


def polygon_area(polygon: list[float]) -> float:
    """Return the area within a polygon [x, y, x, y, ...]."""
    x, y = np.reshape(polygon, (-1, 2)).T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def encode_mask(mask: np.ndarray) -> dict:
    """Return the run-length code of a mask (H, W)."""
    return _as_text(coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)))


def merge_masks(codes: list[dict]) -> dict:
    """Return the run-length code of the union of masks."""
    return _as_text(coco_mask.merge(codes))


def _as_text(code: dict) -> dict:
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


def build_content(
    images: Mapping[str, Iterable[Shape]],
    sizes: Mapping[str, tuple[int, int]],
    class_names: Mapping[int, str],
    root: str,
) -> dict:
    """Return the content of a COCO annotation file.

    Args:
        images: objects by the path of their image.
        sizes: (H, W) of images, by path, as `read_sizes` returns them.
        class_names: by category id.
        root: folder or archive; names of images below it count from there.
    """
    content: dict[str, list] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": key, "name": name} for key, name in class_names.items()],
    }
    for number, (path, shapes) in enumerate(images.items(), 1):
        height, width = sizes[path]
        name = path.removeprefix(f"{root}/")
        image = {"id": number, "file_name": name, "height": height, "width": width}
        content["images"].append(image)
        for shape in shapes:
            fields = {"id": len(content["annotations"]) + 1, "image_id": number}
            content["annotations"].append({**fields, **shape.annotation()})
    return content


def read_sizes(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return (H, W) of images, upright, from their headers; by path.

    Raises:
        InputError: a file is no image.
    """
    paths = list(paths)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        sizes = progress_bar(
            iterable=pool.map(read_size, paths),
            total=len(paths),
            desc="sizes",
            unit=" images",
            leave=False,
        )
        return dict(zip(paths, sizes, strict=True))


def split_of(path: str) -> str | None:
    """Return the split that a file belongs to by the names of the folders that it is in."""
    for part in reversed(posixpath.dirname(path).split("/")):
        if part.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[part.lower()]
    return None


def split_by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return paths by the split that their folders name; {} unless those of all do."""
    by_split: dict[str, list[str]] = {}
    for path in paths:
        split = split_of(path)
        if split is None:
            return {}
        by_split.setdefault(split, []).append(path)
    return by_split


def check_split(dataset: FormattedDataset, split: str | None, what: str) -> None:
    """Check that a dataset has a split.

    Raises:
        InputError: it does not; those that it has are named.
    """
    if split is not None and split not in dataset.splits:
        known = ", ".join(dataset.splits) or "none"
        raise InputError(f"{what} has no split '{split}'; its splits are: {known}.")


def read_text(tree: FileTree, path: str) -> str:
    """Return a text file: in the encoding that XML declares, else in UTF-8, else in Latin-1."""
    data = tree.read(path)
    declared = _XML_ENCODING.match(data)  # not behind a byte order mark, which is UTF-8's
    for encoding in (declared[1].decode("ascii") if declared else "utf-8-sig", "utf-8-sig"):
        with contextlib.suppress(UnicodeDecodeError, LookupError):
            return data.decode(encoding)
    return data.decode("latin-1")
