"""Kinds of COCO files, each a change of one small sound dataset with the outcome that is right."""

import copy
import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

SOUND = "sound"  # nothing is said and nothing changes
REPAIRED = "repaired"  # read as what it means; the run says so
WARNED = "warned"  # taken as it is, or partly left out; the check says so
REFUSED = "refused"  # by the check and before the first iteration

ITSELF: Any = object()  # a meaning: the file is to be taken as it stands

SIZES = [(64, 48), (64, 64), (56, 64), (64, 52), (48, 60)]  # width, height; no two are the same
_CATEGORIES = {2: "cat", 7: "dog", 9: "hen"}
# Image, category, and the outlines of its parts.
_OBJECTS = [
    (0, 2, [(4, 5, 24, 5, 24, 25, 4, 25)]),
    (0, 7, [(30, 8, 58, 8, 58, 40, 30, 40)]),
    (0, 9, [(6, 30, 26, 30, 16, 46)]),
    (1, 2, [(2, 2, 46, 2, 46, 40, 2, 40)]),
    (1, 9, [(50, 20, 62, 20, 62, 60, 50, 60)]),
    (2, 7, [(5, 6, 15, 6, 15, 20, 5, 20), (15, 10, 35, 10, 35, 24, 15, 24)]),
    (2, 2, [(10, 34, 48, 30, 52, 58, 20, 60)]),
    (3, 9, [(8, 8, 30, 8, 30, 30, 8, 30)]),
    (3, 7, [(36, 20, 60, 20, 60, 48, 36, 48)]),
    (4, 2, [(3, 3, 23, 3, 23, 27, 3, 27)]),
    (4, 7, [(26, 30, 44, 30, 35, 56)]),
]
_CROWD = (1, 2, (4, 44, 44, 62))  # of the second image, a box


@dataclass
class Data:
    """A dataset that a kind changes.

    Attributes:
        content: of the annotation file.
        folder: of everything.
        raw: bytes of the annotation file in place of ``content``.
        name: of the annotation file.
    """

    content: Any
    folder: Path
    raw: bytes | None = None
    name: str = "mine.json"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def json_file(self) -> Path:
        return self.folder / self.name

    def write(self) -> None:
        if not os.path.lexists(self.json_file):  # a kind may have put something else there
            raw = self.raw if self.raw is not None else json.dumps(self.content).encode()
            self.json_file.write_bytes(raw)


Spoil = Callable[[Data], None]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name: what is special about it.
        outcome: what a run does with it.
        spoil: makes it of the sound dataset.
        meaning: the sound content that it stands for; None: it stands for itself.
        base: form of the masks of the sound dataset: polygons, rle or boxes (none).
        trains: False: it is refused for training, though it can be evaluated on.
        late: a run cannot know before it reads the image.
        may_differ: training may draw other samples of the same truth, as in another order.
        ap: of perfect predictions, in percent; None: there is none.
    """

    name: str
    outcome: str
    spoil: Spoil = field(repr=False)
    meaning: Callable[[], dict] | None = field(repr=False, default=None)
    base: str = "polygons"
    trains: bool = True
    late: bool = False
    may_differ: bool = False
    ap: float | None = 100.0


KINDS: dict[str, Kind] = {}


def kind(name: str, outcome: str, *spoils: Spoil, meaning: Any = None, **options: Any) -> None:
    """Register a kind; what is read or repaired means the sound dataset unless it is said."""
    assert name not in KINDS, name
    base = options.get("base", "polygons")
    if meaning is None and outcome in (SOUND, REPAIRED):
        meaning = functools.partial(sound_content, base)
    if meaning is ITSELF:
        meaning = None

    def spoil(data: Data) -> None:
        for change in spoils:
            change(data)

    KINDS[name] = Kind(name, outcome, spoil, meaning, **options)


def each(name: str, /, **changes: Any) -> Spoil:
    """Change keys of all entries of a list; a callable gets position and entry."""

    def spoil(data: Data) -> None:
        for index, entry in enumerate(data.content[name]):
            _change(index, entry, changes)

    return spoil


def entry(name: str, index: int, /, **changes: Any) -> Spoil:
    """Change keys of one entry of a list."""
    return lambda data: _change(index, data.content[name][index], changes)


def lacks(name: str, key: str, index: int | None = None) -> Spoil:
    """Remove a key of one entry or of all."""

    def spoil(data: Data) -> None:
        entries = data.content[name]
        for found in entries if index is None else [entries[index]]:
            found.pop(key, None)

    return spoil


def top(**changes: Any) -> Spoil:
    """Set keys of the file."""
    return lambda data: data.content.update(changes)


def _change(index: int, found: dict, changes: dict) -> None:
    for key, value in changes.items():
        found[key] = value(index, found) if callable(value) else copy.deepcopy(value)


def sound_content(base: str = "polygons") -> dict:
    """Return the content of the sound annotation file."""
    images = [
        {"id": 3 * i + 4, "file_name": f"{'abcde'[i]}.png", "width": width, "height": height}
        for i, (width, height) in enumerate(SIZES)
    ]
    annotations = []
    for image, category, parts in _OBJECTS:
        annotations.append(
            _annotation(images[image], category, [list(map(float, p)) for p in parts])
        )
    x0, y0, x1, y1 = _CROWD[2]
    outline = [float(v) for v in (x0, y0, x1, y0, x1, y1, x0, y1)]
    crowd = _annotation(images[_CROWD[0]], _CROWD[1], [outline], iscrowd=1)
    crowd["segmentation"] = as_rle(crowd, images[_CROWD[0]])
    annotations.append(crowd)
    for number, annotation in enumerate(annotations):
        annotation["id"] = 101 + number
        if base == "rle" and not annotation["iscrowd"]:
            image = next(i for i in images if i["id"] == annotation["image_id"])
            annotation["segmentation"] = as_rle(annotation, image)
        elif base == "boxes":
            del annotation["segmentation"]
    categories = [
        {"id": key, "name": name, "supercategory": "animal"} for key, name in _CATEGORIES.items()
    ]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def without(*indexes: int, base: str = "polygons") -> Callable[[], dict]:
    """Return a function that returns the sound content without some annotations."""

    def meaning() -> dict:
        content = sound_content(base)
        kept = [a for i, a in enumerate(content["annotations"]) if i not in indexes]
        return {**content, "annotations": kept}

    return meaning


def _annotation(image: dict, category: int, parts: list[list[float]], iscrowd: int = 0) -> dict:
    points = np.concatenate([np.reshape(part, (-1, 2)) for part in parts])
    x, y = points.min(axis=0).tolist()
    width, height = (points.max(axis=0) - points.min(axis=0)).tolist()
    annotation = {"image_id": image["id"], "category_id": category, "bbox": [x, y, width, height]}
    annotation |= {"iscrowd": iscrowd, "segmentation": parts}
    return {**annotation, "area": int(mask_of(annotation, image).sum())}


def mask_of(annotation: dict, image: dict) -> np.ndarray:
    """Return the mask of a sound annotation, (H, W) bool."""
    height, width = image["height"], image["width"]
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return coco_mask.decode(segmentation).astype(bool)
    codes = coco_mask.frPyObjects(segmentation, height, width)
    if isinstance(segmentation, list):
        codes = coco_mask.merge(codes)
    return coco_mask.decode(codes).astype(bool)


def as_rle(annotation: dict, image: dict) -> dict:
    """Return the mask of a sound annotation as a list of runs."""
    pixels = mask_of(annotation, image).flatten(order="F")
    edges = np.flatnonzero(np.diff(pixels)) + 1
    counts = np.diff([0, *edges, pixels.size]).tolist()
    size = [image["height"], image["width"]]
    return {"size": size, "counts": [0, *counts] if pixels[0] else counts}


def compressed(rle: dict) -> dict:
    """Return a list of runs as COCO's text."""
    code = coco_mask.frPyObjects(rle, *rle["size"])
    return {"size": rle["size"], "counts": code["counts"].decode()}


def draw_images(folder: Path) -> None:
    """Draw the images of the sound dataset."""
    folder.mkdir(parents=True)
    for index, size in enumerate(SIZES):
        image = Image.new("RGB", size, (40 * index + 30, 200 - 40 * index, 90))
        draw = ImageDraw.Draw(image)
        for owner, category, parts in _OBJECTS:
            for part in parts if owner == index else []:
                draw.polygon(part, fill=(25 * category, 255 - 20 * category, 5 * category))
        image.save(folder / f"{'abcde'[index]}.png")


def index_of_image(record: dict) -> int:
    """Return which image of the sound dataset a record is, whatever its file is called."""
    return SIZES.index((record["width"], record["height"]))
