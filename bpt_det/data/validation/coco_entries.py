"""Checks of the lists of an annotation file: keys, types, ids and references."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from bpt_det.data.coco import is_area

from .findings import Findings, place


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) < 2**63  # what C libraries take


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


_WHOLE = (_is_whole, "an integer")
_TEXT = (_is_text, "a text")
_ANY = (lambda value: True, "")  # checked elsewhere
_REQUIRED: dict[str, dict[str, tuple[Callable[[object], bool], str]]] = {
    "images": {"id": _WHOLE, "file_name": _TEXT, "height": _WHOLE, "width": _WHOLE},
    "annotations": {"id": _WHOLE, "image_id": _WHOLE, "category_id": _WHOLE, "bbox": _ANY},
    "categories": {"id": _WHOLE, "name": _TEXT},
}
_OPTIONAL = ("area", "iscrowd")  # of annotations


@dataclass(frozen=True)
class Entries:
    """The entries that are sound enough to be checked further.

    Attributes:
        images: position and entry of images that have every key.
        annotations: position, entry and image of annotations whose image is known; of two images
            with one id the first.
    """

    images: list[tuple[int, dict]]
    annotations: list[tuple[int, dict, dict]]


def check_entries(content: dict, findings: Findings) -> Entries:
    """Check the lists of an annotation file, and return what can be checked further."""
    sound = {name: _sound_entries(content[name], name, findings) for name in _REQUIRED}
    for name in _REQUIRED:
        if not content[name]:
            findings.add("empty_list", {"entry": name}, f"{name} is empty")
    for name, kind in (
        ("images", "duplicate_image_id"),
        ("annotations", "duplicate_annotation_id"),
        ("categories", "duplicate_category_id"),
    ):
        _find_repeated(sound[name], name, "id", kind, findings)
    _find_repeated(sound["categories"], "categories", "name", "duplicate_category_name", findings)
    _find_repeated(sound["images"], "images", "file_name", "duplicate_file_name", findings)
    for index, image in sound["images"]:
        if not is_size_valid(image):
            size = f"{image['width']} x {image['height']}"
            findings.add("image_size_invalid", place("images", index, image), size)
    image_by_id = {image["id"]: image for _, image in reversed(sound["images"])}
    annotations = _check_references(sound, image_by_id, findings)
    _find_unused(sound, content["annotations"], findings)
    return Entries(sound["images"], annotations)


def is_size_valid(image: dict) -> bool:
    """Return whether an image is recorded with at least one pixel."""
    return min(image["height"], image["width"]) >= 1


def _sound_entries(entries: list, name: str, findings: Findings) -> list[tuple[int, dict]]:
    """Return position and entry of those that have every required key in a usable type."""
    sound = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            detail = f"{_shown(entry)} is no object with keys"
            findings.add("wrong_type", place(name, index, entry), detail)
            continue
        is_sound = True
        for key, (is_right, expected) in _REQUIRED[name].items():
            if key not in entry:
                findings.add("missing_key", place(name, index, entry), f"has no {key}")
                is_sound = False
            elif not is_right(entry[key]):
                detail = f"{key} is {_shown(entry[key])}, not {expected}"
                findings.add("wrong_type", place(name, index, entry), detail)
                is_sound = False
        if is_sound:
            sound.append((index, entry))
    return sound


def _find_repeated(
    entries: Iterable[tuple[int, dict]], name: str, key: str, kind: str, findings: Findings
) -> None:
    first: dict[Hashable, int] = {}
    for index, entry in entries:
        earlier = first.setdefault(entry[key], index)
        if earlier != index:
            detail = f"{key} {entry[key]!r} is also that of {name}[{earlier}]"
            findings.add(kind, place(name, index, entry), detail)


def _check_references(
    sound: dict[str, list[tuple[int, dict]]], image_by_id: dict[int, dict], findings: Findings
) -> list[tuple[int, dict, dict]]:
    category_ids = {category["id"] for _, category in sound["categories"]}
    annotations = []
    for index, annotation in sound["annotations"]:
        image_id, category_id = annotation["image_id"], annotation["category_id"]
        image = image_by_id.get(image_id)
        where = None
        if image is None:
            where = place("annotations", index, annotation)
            findings.add("unknown_image", where, f"image_id {image_id} is not among the images")
        else:
            annotations.append((index, annotation, image))
        if category_id not in category_ids:
            where = where or place("annotations", index, annotation, image)
            detail = f"category_id {category_id} is not among the categories"
            findings.add("unknown_category", where, detail)
        _check_flags(index, annotation, image, findings)
    return annotations


def _find_unused(
    sound: dict[str, list[tuple[int, dict]]], annotations: list, findings: Findings
) -> None:
    """Find categories and images that no annotation mentions, be it sound or not."""
    for name, key, kind in (
        ("categories", "category_id", "category_without_instances"),
        ("images", "image_id", "image_without_annotations"),
    ):
        used = {str(a.get(key)) for a in annotations if isinstance(a, dict)}
        for index, entry in sound[name]:
            if str(entry["id"]) not in used:
                findings.add(kind, place(name, index, entry))


def _check_flags(index: int, annotation: dict, image: dict | None, findings: Findings) -> None:
    def add(kind: str, detail: str = "") -> None:
        findings.add(kind, place("annotations", index, annotation, image), detail)

    if annotation.get("ignore", 0) != 0:
        add("ignore_key", "mark regions to leave out with iscrowd")
    if annotation.get("iscrowd", 0) not in (0, 1):
        add("wrong_type", f"iscrowd is {_shown(annotation['iscrowd'])}, not 0 or 1")
    area = annotation.get("area")
    if isinstance(area, int | float) and not isinstance(area, bool):
        if not is_area(area):
            add("area_invalid", f"area is {area}")
    elif area is not None:
        add("wrong_type", f"area is {_shown(area)}, not a number")
    missing = [key for key in _OPTIONAL if annotation.get(key) is None]
    if missing:
        add("optional_key_missing", f"has no {' and no '.join(missing)}")


def _shown(value: object) -> str:
    """Return a value for a report; long ones are cut."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
