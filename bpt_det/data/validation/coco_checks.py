"""Checks of a COCO-format dataset: its lists, boxes, masks and image files, all at once."""

import hashlib
import os
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor

from bpt_det.data.archives import is_file, read_bytes
from bpt_det.data.coco import LISTS
from bpt_det.data.coco_files import find_image_files
from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import progress_bar

from .coco_entries import Entries, check_entries, is_size_valid
from .coco_plausibility import check_plausibility
from .coco_shapes import Limits, check_boxes, check_masks
from .findings import ERROR, NOTE, WARNING, Findings, Kind, place

_MAX_EXAMPLES = 10_000

COCO_KINDS = {
    "missing_key": Kind(ERROR, "entries that lack a key"),
    "wrong_type": Kind(ERROR, "values of a wrong type"),
    "empty_list": Kind(ERROR, "lists without entries"),
    "duplicate_image_id": Kind(ERROR, "image ids that occur twice: one image hides the other"),
    "duplicate_category_id": Kind(ERROR, "category ids that occur twice: one hides the other"),
    "ignore_key": Kind(ERROR, "annotations with the key 'ignore', which nothing here reads"),
    "unknown_image": Kind(ERROR, "annotations of an image that is not listed"),
    "unknown_category": Kind(ERROR, "annotations of a category that is not listed"),
    "bbox_malformed": Kind(ERROR, "boxes that are not four finite numbers"),
    "bbox_negative_size": Kind(ERROR, "boxes of negative width or height"),
    "far_outside": Kind(ERROR, "boxes or masks that leave their image by more than its size"),
    "boxes_are_fractions": Kind(ERROR, "datasets whose boxes are fractions, not pixels"),
    "boxes_disagree": Kind(ERROR, "datasets whose boxes disagree with most of the masks"),
    "only_crowds": Kind(ERROR, "datasets of crowd regions alone"),
    "all_left_out": Kind(ERROR, "datasets in which every object is left out"),
    "mask_missing": Kind(ERROR, "annotations without a segmentation, while others have one"),
    "polygon_malformed": Kind(ERROR, "polygons that are no lists of finite numbers x, y"),
    "rle_malformed": Kind(ERROR, "run-length codes (RLE) that cannot be decoded"),
    "rle_size": Kind(ERROR, "run-length codes (RLE) of another size than the image"),
    "image_size_invalid": Kind(ERROR, "images recorded with a size that none can have"),
    "lvis_list_malformed": Kind(ERROR, "LVIS's lists of an image that hold no listed category"),
    "image_missing": Kind(ERROR, "image files that do not exist"),
    "image_unreadable": Kind(ERROR, "image files that cannot be decoded"),
    "image_size_differs": Kind(ERROR, "image files of another size than recorded"),
    "no_annotations": Kind(WARNING, "files without annotations: nothing to train on or to score"),
    "many_crowds": Kind(WARNING, "datasets with many crowd regions", True),
    "boxes_look_like_corners": Kind(WARNING, "datasets whose boxes look like two corners", True),
    "boxes_in_one_corner": Kind(WARNING, "datasets with all boxes in one part of the images", True),
    "turned_rectangle": Kind(
        WARNING, "rectangles that are turned (rotated), which COCO's boxes cannot be", True
    ),
    "duplicate_annotation": Kind(WARNING, "annotations that repeat another one", True),
    "optional_key_missing": Kind(WARNING, "annotations without area or iscrowd, which others need"),
    "area_invalid": Kind(WARNING, "areas that are not positive: evaluation measures them", True),
    "area_mismatch": Kind(WARNING, "areas that are far from those of the masks", True),
    "mask_box_mismatch": Kind(WARNING, "masks that disagree with their box", True),
    "negative_category_annotated": Kind(
        WARNING, "annotations of a category that LVIS's list says to be absent", True
    ),
    "duplicate_annotation_id": Kind(WARNING, "annotation ids that occur twice: numbered anew"),
    "duplicate_category_name": Kind(WARNING, "category names that occur twice", True),
    "category_without_instances": Kind(WARNING, "categories without an annotation"),
    "duplicate_file_name": Kind(WARNING, "image files that are listed twice", True),
    "same_image_in_two_splits": Kind(WARNING, "images with the same content in two splits"),
    "image_name_differs": Kind(WARNING, "file names that are written in another way than listed"),
    "bbox_zero_size": Kind(WARNING, "boxes without width or height: left out", True),
    "bbox_outside_image": Kind(WARNING, "boxes wholly outside the image: left out", True),
    "bbox_beyond_image": Kind(WARNING, "boxes that reach beyond the image: clipped in training"),
    "mask_beyond_image": Kind(WARNING, "masks that reach beyond the image: clipped in training"),
    "mask_empty": Kind(WARNING, "masks that cover no pixel: left out", True),
    "mask_of_points": Kind(WARNING, "masks of one or two points: left out", True),
    "polygon_of_points": Kind(WARNING, "masks with a part of one or two points: it is left out"),
    "crowd_without_mask": Kind(WARNING, "crowd regions without a mask: their box is taken", True),
    "mask_tiny": Kind(WARNING, "tiny masks"),
    "no_masks": Kind(NOTE, "datasets without any segmentation: boxes alone can be trained"),
    "many_objects": Kind(
        NOTE, "images of more than 100 objects, as many as are predicted and scored at most", True
    ),
    "image_without_annotations": Kind(NOTE, "images without an annotation: left out in training"),
}


def check_coco(
    content: dict,
    image_root: str | None,
    limits: Limits | None = None,
    num_workers: int | None = None,
) -> Findings:
    """Check a dataset in COCO's format and return everything that was found.

    Args:
        content: of the annotation file, with its three lists.
        image_root: folder of the images; None leaves the image files out.
        limits: what counts as wrong; None takes the defaults.
        num_workers: threads that decode images; None takes one per core.
    """
    entries, findings = check_content(content, limits)
    if image_root is not None:
        check_images(entries, image_root, findings, num_workers)
    return findings


def check_content(content: dict, limits: Limits | None = None) -> tuple[Entries, Findings]:
    """Check everything but the image files, as a run does before it starts.

    Returns:
        The entries that are sound enough to be used, and what was found.
    """
    totals = {name: len(content.get(name, [])) for name in LISTS}
    heading = ", ".join(f"{count} {name}" for name, count in totals.items())
    findings = Findings(COCO_KINDS, heading, {"totals": totals}, _MAX_EXAMPLES)
    entries = check_entries(content, findings)
    check_boxes(entries, findings)
    check_masks(entries, limits or Limits(), findings)
    check_plausibility(entries, findings)
    return entries, findings


def check_images(
    entries: Entries, image_root: str, findings: Findings, num_workers: int | None = None
) -> None:
    """Decode every listed image as training does.

    Args:
        entries: of the annotation file.
        image_root: folder of the images.
        findings: gets what is wrong.
        num_workers: threads that decode; None takes one per core.
    """
    names: dict[Hashable, str] = {index: image["file_name"] for index, image in entries.images}
    by_index, _ = find_image_files(names, image_root)
    paths = [by_index[index] for index in names]
    for (index, image), path in zip(entries.images, paths, strict=True):
        if path != os.path.join(image_root, image["file_name"]):
            detail = f"found as {os.path.relpath(path, image_root)!r}"
            findings.add("image_name_differs", place("images", index, image), detail)
    with ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:
        faults = pool.map(_read_fault, paths, (image for _, image in entries.images))
        progress = progress_bar(iterable=faults, total=len(paths), desc="images")
        for (index, image), fault in zip(entries.images, progress, strict=True):
            if fault:
                findings.add(fault[0], place("images", index, image), fault[1])


def check_leakage(
    entries: Entries, image_root: str, split: str, seen: dict[bytes, str], findings: Findings
) -> None:
    """Find images that are in an earlier split too, by the bytes of their files.

    Args:
        entries: of a split.
        image_root: folder of the images.
        split: its name.
        seen: names of images by a hash of their content; those of this split are added.
        findings: gets what is wrong.
    """
    names: dict[Hashable, str] = {index: image["file_name"] for index, image in entries.images}
    paths, _ = find_image_files(names, image_root)
    own: dict[bytes, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(_digest, paths.values())
        progress = progress_bar(iterable=digests, total=len(paths), desc="leakage")
        for (index, image), digest in zip(entries.images, progress, strict=True):
            if digest is None:
                continue
            if digest in seen:
                where = place("images", index, image)
                findings.add("same_image_in_two_splits", where, f"is {seen[digest]} too")
            own.setdefault(digest, f"{image['file_name']} ({split})")
    seen.update(own)


def _digest(path: str) -> bytes | None:
    """Return a hash of a file's bytes; None of one that cannot be read."""
    try:
        return hashlib.sha256(read_bytes(path)).digest()
    except InputError:
        return None


def _read_fault(path: str, image: dict) -> tuple[str, str] | None:
    """Return kind and detail of what is wrong with an image file, if anything is."""
    if not (is_file(path) or os.path.exists(path)):
        return "image_missing", f"'{path}' does not exist"
    try:
        height, width = read_rgb(path).shape[:2]  # turned upright as EXIF says
    except InputError as error:
        return "image_unreadable", str(error)
    if (height, width) == (image["height"], image["width"]) or not is_size_valid(image):
        return None
    detail = f"{width} x {height} pixels, recorded as {image['width']} x {image['height']}"
    if (width, height) == (image["height"], image["width"]):
        detail += "; images are turned upright as EXIF data say, this record is not"
    return "image_size_differs", detail
