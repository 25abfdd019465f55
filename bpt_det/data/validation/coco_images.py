"""Checks of image files: there, really decoded, and of the recorded size."""

import os
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError

from .coco_entries import Entries, is_size_valid
from .findings import Findings, place


def check_images(
    entries: Entries, image_root: str, findings: Findings, num_workers: int | None = None
) -> None:
    """Decode every listed image as training does.

    Args:
        entries: of the annotation file.
        image_root: folder of the images.
        findings: gets what is wrong.
        num_workers: threads that decode; None takes one a core.
    """
    paths = [os.path.join(image_root, image["file_name"]) for _, image in entries.images]
    with ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:
        faults = pool.map(_read_fault, paths, (image for _, image in entries.images))
        progress = tqdm(faults, total=len(paths), desc="images", disable=None)
        for (index, image), fault in zip(entries.images, progress, strict=True):
            if fault:
                findings.add(fault[0], place("images", index, image), fault[1])


def _read_fault(path: str, image: dict) -> tuple[str, str] | None:
    """Return kind and detail of what is wrong with an image file, if anything is."""
    if not os.path.isfile(path):
        return "image_missing", f"'{path}' does not exist"
    try:
        height, width = read_rgb(path, deep="refuse").shape[:2]  # turned upright as EXIF says
    except InputError as error:
        return "image_unreadable", str(error)
    if (height, width) == (image["height"], image["width"]) or not is_size_valid(image):
        return None
    detail = f"{width} x {height} pixels, recorded as {image['width']} x {image['height']}"
    if (width, height) == (image["height"], image["width"]):
        detail += "; it is turned upright as its EXIF data say, the record is not"
    return "image_size_differs", detail
