"""Checks of a labeled dataset, in folders or an archive: all images of all splits, and counts."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bpt_det.data.archives import open_file
from bpt_det.data.images import decode_rgb
from bpt_det.data.labeled_dataset import LabeledDataset
from bpt_det.data.splits import LabeledImage
from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import progress_bar

from .findings import ERROR, WARNING, Findings, Kind

FOLDER_KINDS = {
    "image_missing": Kind(ERROR, "image files that do not exist"),
    "image_unreadable": Kind(ERROR, "image files that cannot be read or decoded"),
    "same_image_in_two_splits": Kind(WARNING, "images with the same content in two splits"),
    "same_image_in_two_classes": Kind(WARNING, "images with the same content in two classes"),
    "class_without_images": Kind(WARNING, "classes without an image in val or test"),
    "class_names_alike": Kind(
        WARNING, "classes whose names differ in case, spaces or Unicode form alone"
    ),
    "count_differs": Kind(WARNING, "numbers of images or classes other than expected"),
}


def check_labeled(
    dataset: LabeledDataset, *, skip_images: bool = False, num_workers: int | None = None
) -> Findings:
    """Check all splits of a dataset; labels and lists have been checked when they were read.

    Args:
        dataset: what to check.
        skip_images: leave the content of the image files out.
        num_workers: threads that decode; None takes one per core.
    """
    facts = {
        "classes": len(dataset.class_names),
        "images": {split: _class_sizes(dataset, split).total() for split in dataset.splits},
    }
    findings = Findings(FOLDER_KINDS, _heading(dataset), facts)
    images = sorted(dataset.layout.images)
    present = [image for image in images if image.path in dataset.tree.files]
    findings.add_all("image_missing", map(_describe, sorted(set(images) - set(present))))
    findings.add_all("class_without_images", _classes_without_images(dataset))
    findings.add_all("class_names_alike", _alike(dataset.class_names))
    findings.add_all("count_differs", _unexpected_counts(dataset))
    if not skip_images:
        _check_contents(dataset, present, findings, num_workers or os.cpu_count())
    return findings


def _describe(image: LabeledImage) -> str:
    return f"{image.path} ({image.split})"


def _check_contents(
    dataset: LabeledDataset,
    images: Sequence[LabeledImage],
    findings: Findings,
    num_workers: int | None,
) -> None:
    """Decode every image, and compare its bytes with those of all others."""
    first: dict[bytes, LabeledImage] = {}
    with ThreadPoolExecutor(num_workers) as pool:
        contents = pool.map(_read, (dataset.tree.file_name(image.path) for image in images))
        progress = progress_bar(iterable=contents, total=len(images), desc="images")
        for image, content in zip(images, progress, strict=True):
            if isinstance(content, str):
                findings.add("image_unreadable", _describe(image), content)
                continue
            other = first.setdefault(content, image)
            pair = f"{_describe(other)} and {_describe(image)}"
            if other.split != image.split:
                findings.add("same_image_in_two_splits", pair)
            if other.class_id != image.class_id:
                findings.add("same_image_in_two_classes", pair)


def _read(file_name: str) -> bytes | str:
    """Return a hash of an image file's bytes, or what is wrong with it."""
    try:
        with open_file(file_name) as stream:
            decode_rgb(stream, file_name)
            stream.seek(0)
            digest = hashlib.sha256()
            while chunk := stream.read(2**20):
                digest.update(chunk)
    except InputError as error:
        return str(error)
    return digest.digest()


def _classes_without_images(dataset: LabeledDataset) -> Iterator[str]:
    for split in dataset.splits:
        counts = _class_sizes(dataset, split)
        for class_id, name in sorted(dataset.layout.class_names.items()):
            if not counts[class_id]:
                yield f"{name} ({split})"


def _alike(names: Sequence[str]) -> Iterator[str]:
    """Yield the names that a person would take for one, together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = unicodedata.normalize("NFKC", name.replace("_", " ")).casefold()
        groups.setdefault(" ".join(plain.split()), []).append(name)
    return (", ".join(map(repr, group)) for group in groups.values() if len(group) > 1)


def _unexpected_counts(dataset: LabeledDataset) -> Iterator[str]:
    for split in dataset.splits:
        size, expected = _class_sizes(dataset, split).total(), dataset.expected_count(split)
        if expected not in (None, size):
            yield f"{split} has {size:,} images, expected {expected:,}"
    size, expected = len(dataset.class_names), dataset.expected_classes
    if expected not in (None, size):
        yield f"{size:,} classes, expected {expected:,}"


def _heading(dataset: LabeledDataset) -> str:
    lines = [
        f"{dataset.name}: {len(dataset.class_names):,} classes, '{dataset.tree.file_name('')}'"
    ]
    for split in dataset.splits:
        sizes = _class_sizes(dataset, split)
        per_class = [sizes[class_id] for class_id in dataset.layout.class_names]
        least, most = min(per_class), max(per_class)
        spread = f"{least:,} per class" if least == most else f"{least:,} to {most:,} per class"
        lines.append(f"    {split}: {sizes.total():,} images, {spread}")
    return "\n".join(lines)


def _class_sizes(dataset: LabeledDataset, split: str) -> Counter:
    return Counter(image.class_id for image in dataset.layout.images if image.split == split)
