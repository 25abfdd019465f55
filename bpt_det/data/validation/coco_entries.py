"""Checks of the lists of an annotation file: keys, types, ids and references."""

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

import numpy as np

from bpt_det.data.coco import LVIS_LISTS, is_area

from .coco_bulk import boxes_in_sizes
from .findings import Findings, place

_MOST_PIXELS = 2**32 - 1  # run lengths of masks are 32-bit numbers

Numbered = list[tuple[int, dict]]  # entries with their position


def is_label(value: object) -> bool:
    """Return whether a value can be an id: a whole number of any size, or a text."""
    if type(value) is float:
        return value.is_integer()
    return type(value) in (int, str)


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number, written as 96 or as 96.0."""
    return type(value) is int or (type(value) is float and value.is_integer())


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_file_name(value: object) -> bool:
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_class_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and not _has_surrogates(value)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


_Test = tuple[Callable[[object], bool], str, frozenset]  # with types that need no test
_LABEL: _Test = (is_label, "an integer or a text", frozenset({int, str}))
_WHOLE: _Test = (is_whole, "an integer", frozenset({int}))
_FILE: _Test = (_is_file_name, "the name of a file", frozenset())
_NAME: _Test = (_is_class_name, "a text", frozenset())
_ANY: _Test = (lambda value: True, "", frozenset())  # checked elsewhere
_REQUIRED: dict[str, dict[str, _Test]] = {
    "images": {"id": _LABEL, "file_name": _FILE, "height": _WHOLE, "width": _WHOLE},
    "annotations": {"image_id": _LABEL, "category_id": _LABEL, "bbox": _ANY},
    "categories": {"id": _LABEL, "name": _NAME},
}
_OPTIONAL = ("area", "iscrowd")  # of annotations


@dataclass(frozen=True)
class Entries:
    """The entries that are sound enough to be checked further.

    Attributes:
        images: position and entry of images that have every key.
        annotations: position, entry and image of annotations whose image is known; of two images
            with one id the first.
        categories: position and entry of categories that have every key.
        left_out: positions of annotations that neither training nor evaluation takes.
    """

    images: Numbered
    annotations: list[tuple[int, dict, dict]]
    categories: Numbered
    left_out: set[int] = field(default_factory=set)

    @cached_property
    def boxes(self) -> np.ndarray:
        """Boxes of the annotations, see `boxes_in_sizes`."""
        return boxes_in_sizes(self.annotations)


def check_entries(content: dict, findings: Findings) -> Entries:
    """Check the lists of an annotation file, and return what can be checked further."""
    sound = {name: _sound_entries(content.get(name, []), name, findings) for name in _REQUIRED}
    for name in ("images", "categories"):
        if not content[name]:
            findings.add("empty_list", {"entry": name}, f"{name} is empty")
    if not content.get("annotations"):
        what = "is empty" if "annotations" in content else "is not there"
        findings.add("no_annotations", {"entry": "annotations"}, f"annotations {what}")
    with_id = [(i, a) for i, a in sound["annotations"] if is_label(a.get("id"))]
    for entries, name, key, kind in (
        (sound["images"], "images", "id", "duplicate_image_id"),
        (with_id, "annotations", "id", "duplicate_annotation_id"),
        (sound["categories"], "categories", "id", "duplicate_category_id"),
        (sound["categories"], "categories", "name", "duplicate_category_name"),
        (sound["images"], "images", "file_name", "duplicate_file_name"),
    ):
        _find_repeated(entries, name, key, kind, findings)
    for index, image in sound["images"]:
        if not is_size_valid(image):
            size = f"{image['width']} x {image['height']}"
            findings.add("image_size_invalid", place("images", index, image), size)
    image_by_id = {image["id"]: image for _, image in reversed(sound["images"])}
    listed = {name: _listed_ids(content[name]) for name in ("images", "categories")}
    annotations = _check_references(sound["annotations"], image_by_id, listed, findings)
    _find_unused(sound, content.get("annotations", []), findings)
    _check_lvis_lists(sound["images"], annotations, listed["categories"], findings)
    return Entries(sound["images"], annotations, sound["categories"])


def is_size_valid(image: dict) -> bool:
    """Return whether an image is recorded with at least one pixel, and not too many."""
    height, width = image["height"], image["width"]
    return min(height, width) >= 1 and height * width <= _MOST_PIXELS


def _sound_entries(entries: list, name: str, findings: Findings) -> Numbered:
    """Return position and entry of those that have every required key in a usable type."""
    if _are_sound(entries, name):
        return list(enumerate(entries))
    sound = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            detail = f"{shown(entry)} is no object with keys"
            findings.add("wrong_type", place(name, index, entry), detail)
            continue
        is_sound = True
        for key, (is_right, expected, _) in _REQUIRED[name].items():
            if key not in entry:
                findings.add("missing_key", place(name, index, entry), f"has no {key}")
                is_sound = False
            elif not is_right(entry[key]):
                detail = f"{key} is {shown(entry[key])}, not {expected}"
                findings.add("wrong_type", place(name, index, entry), detail)
                is_sound = False
        if is_sound:
            sound.append((index, entry))
    return sound


def _are_sound(entries: list, name: str) -> bool:
    """Return whether all entries are clearly sound, tested key by key, which is faster."""
    if set(map(type, entries)) - {dict}:
        return False
    try:
        for key, (is_right, _, plain) in _REQUIRED[name].items():
            values = list(map(itemgetter(key), entries))
            if is_right is _ANY[0] or not set(map(type, values)) - plain:
                continue
            if not all(map(is_right, values)):
                return False
    except KeyError:
        return False
    return True


def _find_repeated(entries: Numbered, name: str, key: str, kind: str, findings: Findings) -> None:
    if len({entry[key] for _, entry in entries}) == len(entries):
        return
    first: dict[Hashable, int] = {}
    for index, entry in entries:
        earlier = first.setdefault(entry[key], index)
        if earlier != index:
            detail = f"{key} {shown(entry[key])} is also that of {name}[{earlier}]"
            findings.add(kind, place(name, index, entry), detail)


def _listed_ids(entries: list) -> set:
    """Return the ids of all entries, of those too that are not sound otherwise."""
    ids = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return {value for value in ids if is_label(value)}


def _check_references(
    entries: Numbered,
    image_by_id: dict[Hashable, dict],
    listed: dict[str, set],
    findings: Findings,
) -> list[tuple[int, dict, dict]]:
    annotations = []
    for index, annotation in entries:
        image_id, category_id = annotation["image_id"], annotation["category_id"]
        image = image_by_id.get(image_id)
        if image is not None:
            annotations.append((index, annotation, image))
        elif image_id not in listed["images"]:
            where = place("annotations", index, annotation)
            detail = f"image_id {shown(image_id)} is not among the images"
            findings.add("unknown_image", where, detail + _other_type(image_id, listed["images"]))
        if category_id not in listed["categories"]:
            where = place("annotations", index, annotation, image)
            detail = f"category_id {shown(category_id)} is not among the categories"
            findings.add("unknown_category", where, detail)
        _check_flags(index, annotation, image, findings)
    return annotations


def _other_type(label: object, listed: set) -> str:
    """Return a note where an id is listed as a value of another type."""
    other: object = str(label)
    if isinstance(label, str):
        other = int(label) if label.isdecimal() and len(label) < 20 else None
    return f", {shown(other)} is" if other in listed else ""


def _find_unused(sound: dict[str, Numbered], annotations: list, findings: Findings) -> None:
    """Find categories and images that no annotation mentions, be it sound or not."""
    for name, key, kind in (
        ("categories", "category_id", "category_without_instances"),
        ("images", "image_id", "image_without_annotations"),
    ):
        values = [a.get(key) for a in annotations if isinstance(a, dict)]
        try:
            used = set(values)
        except TypeError:  # a list in place of an id
            used = {value for value in values if isinstance(value, Hashable)}
        texts = {str(value) for value in used}  # of an id of another type something else is said
        for index, entry in sound[name]:
            if entry["id"] not in used and str(entry["id"]) not in texts:
                findings.add(kind, place(name, index, entry))


def _check_lvis_lists(
    images: Numbered,
    annotations: list[tuple[int, dict, dict]],
    listed: set,
    findings: Findings,
) -> None:
    """Check the categories that LVIS says to be absent from an image, or not all labeled there."""
    for index, image in images:
        for key in LVIS_LISTS:
            values = image.get(key, [])
            unknown = [values]
            if isinstance(values, list):
                unknown = [v for v in values if not is_label(v) or v not in listed]
            if unknown:
                detail = f"{key} has {shown(unknown[0])}, not the id of a listed category"
                findings.add("lvis_list_malformed", place("images", index, image), detail)
    if not any("neg_category_ids" in image for _, image in images):
        return
    for index, annotation, image in annotations:
        negative = image.get("neg_category_ids")
        if isinstance(negative, list) and annotation["category_id"] in negative:
            detail = f"category_id {shown(annotation['category_id'])} is among neg_category_ids"
            where = place("annotations", index, annotation, image)
            findings.add("negative_category_annotated", where, detail)


def _check_flags(index: int, annotation: dict, image: dict | None, findings: Findings) -> None:
    area, crowd = annotation.get("area"), annotation.get("iscrowd")
    if is_area(area) and type(crowd) is int and crowd == 0 and not annotation.get("ignore"):
        return

    def add(kind: str, detail: str = "") -> None:
        findings.add(kind, place("annotations", index, annotation, image), detail)

    if annotation.get("ignore"):
        add("ignore_key", "mark regions to leave out with iscrowd")
    if crowd is not None and not (type(crowd) in (int, float, bool) and crowd in (0, 1)):
        add("wrong_type", f"iscrowd is {shown(crowd)}, not 0 or 1")
    if isinstance(area, int | float) and not isinstance(area, bool):
        if not is_area(area):
            add("area_invalid", f"area is {shown(area)}")
    elif area is not None:
        add("wrong_type", f"area is {shown(area)}, not a number")
    missing = [key for key in _OPTIONAL if annotation.get(key) is None]
    if missing:
        add("optional_key_missing", f"has no {' and no '.join(missing)}")


def shown(value: object) -> str:
    """Return a value for a report; long ones are cut."""
    try:
        text = ascii(value) if isinstance(value, str) and _has_surrogates(value) else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"of type {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."
