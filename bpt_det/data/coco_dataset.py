"""COCO datasets: one reader for training, evaluation and everything else that takes records.

It makes the checks of `bpt_det.data.validation`, refuses what these call an error, and returns what
is left in one form, so that nothing behind it meets a value of another kind.
"""

import gc
import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from bpt_det.utils.errors import InputError

from .coco import LVIS_LISTS
from .formats import read_annotations, source_files
from .rle import encode_segmentation
from .validation import ERROR, NOTE, WARNING, Findings, check_content
from .validation.coco_entries import Entries
from .validation.coco_shapes import has_mask, sound_parts
from .validation.report import describe_place

_MOST_KEPT = 64 * 2**20  # bytes of a file whose content stays in memory
_NUM_KEPT = 4  # of these

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoDataset:
    """What a COCO-format annotation file holds, checked and in one form.

    Attributes:
        images: by id, sorted; each with ``id`` as in the file, ``file_name``, and ``height`` and
            ``width`` as integers; and LVIS's lists of category ids, if it has them.
        annotations: by image id, in the order of the file; each with ``category_id`` as in the
            file, ``bbox`` (x, y, width, height in pixels), ``iscrowd`` 0 or 1, and if it has a mask
            ``segmentation``: polygons, or a compressed RLE. Other keys are as they are. Objects
            without a pixel are left out.
        categories: by id, sorted; as in the file.
        is_annotated: whether the file has a list of annotations at all.
    """

    images: dict[Hashable, dict]
    annotations: dict[Hashable, list[dict]]
    categories: dict[Hashable, dict]
    is_annotated: bool

    @cached_property
    def class_names(self) -> dict[Hashable, str]:
        """Names by category id, sorted by id."""
        return {key: category["name"] for key, category in self.categories.items()}

    @property
    def objects(self) -> list[dict]:
        """Annotations that are no crowd regions."""
        return [a for group in self.annotations.values() for a in group if not a["iscrowd"]]


_kept: dict[tuple, CocoDataset] = {}


def read_coco(json_file: str | Path, *, keep: bool = True) -> CocoDataset:
    """Return the dataset of an annotation file; one that was read a moment ago is not read again.

    Args:
        json_file: path of the file, or a source in another format (`bpt_det.data.formats`).
        keep: keep a large one for the next call; a small one always is.

    Raises:
        InputError: the file cannot be read, or the check finds an error in it.
    """
    key = _identify(json_file)
    dataset = _kept.pop(key, None)
    if dataset is None:
        dataset = _read(json_file)
    if key and (keep or key[1] <= _MOST_KEPT):
        _kept[key] = dataset
        while len(_kept) > _NUM_KEPT:
            _kept.pop(next(iter(_kept)))
    return dataset


def _identify(json_file: str | Path) -> tuple:
    """Return what changes with the content of a file, and its size; empty if there is none."""
    try:
        return source_files(json_file)
    except (OSError, ValueError):
        return ()


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keep Python from looking for cycles among millions of lists that hold none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@without_garbage_collection()
def _read(json_file: str | Path) -> CocoDataset:
    content = read_annotations(json_file)
    entries, findings = check_content(content)
    if findings.total(ERROR):
        raise InputError(_refusal(json_file, findings), hint="check_dataset")
    for severity, level in ((WARNING, logging.WARNING), (NOTE, logging.INFO)):
        for kind in findings.kinds(severity):
            if findings.table[kind].is_told:
                logger.log(level, "'%s': %s", json_file, _describe(findings, kind))
    return _in_one_form(entries, is_annotated="annotations" in content)


def _refusal(json_file: str | Path, findings: Findings) -> str:
    kinds = findings.kinds(ERROR)
    texts = [_describe(findings, kind) for kind in kinds[:2]]
    if len(kinds) > 2:
        texts.append(f"and errors of {len(kinds) - 2} more kinds")
    return f"annotation file '{json_file}': {'; '.join(texts)}; correct it."


def _describe(findings: Findings, kind: str) -> str:
    """Return the number of findings of a kind, and the first of them, on one line."""
    example = findings.examples[kind][0]
    assert isinstance(example, dict)
    where, detail = describe_place(example), example["detail"]
    text = f"{where}: {detail}" if detail else where
    return f"{findings.counts[kind]} {findings.table[kind].title} ({text[:300]})"


def _in_one_form(entries: Entries, *, is_annotated: bool) -> CocoDataset:
    images = {
        whole(image["id"]): {
            "id": whole(image["id"]),
            "file_name": image["file_name"],
            "height": int(image["height"]),
            "width": int(image["width"]),
            **{name: [*map(whole, image[name])] for name in LVIS_LISTS if name in image},
        }
        for _, image in entries.images
    }
    images = {key: images[key] for key in sorted(images, key=id_order)}
    annotations: dict[Hashable, list[dict]] = {key: [] for key in images}
    has_masks = any(has_mask(annotation) for _, annotation, _ in entries.annotations)
    for index, annotation, _ in entries.annotations:
        if index not in entries.left_out:
            image = images[annotation["image_id"]]
            annotations[image["id"]].append(_usable(annotation, image, has_masks))
    categories = {whole(category["id"]): category for _, category in entries.categories}
    categories = {key: categories[key] for key in sorted(categories, key=id_order)}
    return CocoDataset(images, annotations, categories, is_annotated)


def whole(label: Any) -> Hashable:
    """Return an id, a whole number as an integer."""
    return int(label) if isinstance(label, float) else label


def id_order(label: Hashable) -> tuple:
    """Return what sorts ids: numbers, then texts."""
    return (isinstance(label, str), label)


def _usable(annotation: dict, image: dict, has_masks: bool) -> dict:
    """Return an annotation in one form; it is changed, as a copy of each takes seconds."""
    annotation["iscrowd"] = int(annotation.get("iscrowd") or 0)
    annotation["category_id"] = whole(annotation["category_id"])
    annotation["image_id"] = image["id"]
    mask = _usable_mask(annotation["segmentation"], image) if has_mask(annotation) else None
    annotation.pop("segmentation", None)
    if mask:
        annotation["segmentation"] = mask
    elif has_masks:  # a crowd region, as the check knows
        x, y, width, height = annotation["bbox"]
        right, low = x + width, y + height
        annotation["segmentation"] = [[x, y, right, y, right, low, x, low]]
    return annotation


def _usable_mask(segmentation: list | dict, image: dict) -> list | dict:
    if isinstance(segmentation, list):
        return sound_parts(segmentation)
    size = [image["height"], image["width"]]
    return encode_segmentation({"size": size, "counts": segmentation["counts"]}, *size)


def measure_area(annotation: dict, image: dict) -> float:
    """Return the area of an annotation's mask in pixels, or else of its box."""
    segmentation = annotation.get("segmentation")
    if not segmentation:
        _, _, width, height = annotation["bbox"]
        return float(width * height)
    return float(coco_mask.area(encode_segmentation(segmentation, image["height"], image["width"])))
