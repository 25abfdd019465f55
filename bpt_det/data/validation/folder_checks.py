"""Everything that is wrong with the images of a classification dataset, at once."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tqdm import tqdm

from bpt_det.data.archives import read_bytes
from bpt_det.data.images import decode_rgb
from bpt_det.data.labeled_dataset import LabeledDataset
from bpt_det.data.splits import LabeledImage
from bpt_det.utils.errors import InputError

ERROR, WARNING = "error", "warning"

# Error: a run stops. Warning: it may measure something else than what is meant.
KINDS = {
    "image_missing": (ERROR, "image files that do not exist"),
    "image_unreadable": (ERROR, "image files that cannot be read or decoded"),
    "same_image_in_two_splits": (WARNING, "images with the same content in two splits"),
    "same_image_in_two_classes": (WARNING, "images with the same content in two classes"),
    "class_without_images": (WARNING, "classes without an image in val or test"),
    "count_differs": (WARNING, "numbers of images or classes other than expected"),
}


@dataclass
class ClassificationCheck:
    """What was found in a dataset.

    Attributes:
        dataset: what was looked at.
        findings: lines by key of `KINDS`, in its order; only the kinds that were found.
    """

    dataset: LabeledDataset
    findings: dict[str, list[str]] = field(default_factory=dict)

    def total(self, severity: str) -> int:
        """Return the number of findings of one severity."""
        return sum(len(v) for kind, v in self.findings.items() if KINDS[kind][0] == severity)


def check_classification(
    dataset: LabeledDataset, *, skip_images: bool = False, num_workers: int | None = None
) -> ClassificationCheck:
    """Look at all splits; labels and lists have been checked when they were read.

    Args:
        dataset: what to look at.
        skip_images: leave the content of the image files out.
        num_workers: threads that decode; None takes one a core.
    """
    images = sorted(dataset.layout.images)
    there = [image for image in images if image.path in dataset.tree.files]
    found = {
        "image_missing": [f"{i.path} ({i.split})" for i in sorted(set(images) - set(there))],
        "class_without_images": list(_classes_without_images(dataset)),
        "count_differs": list(_other_counts(dataset)),
    }
    if not skip_images:
        found |= _look_into(dataset, there, num_workers or os.cpu_count())
    return ClassificationCheck(dataset, {kind: found[kind] for kind in KINDS if found.get(kind)})


def _look_into(
    dataset: LabeledDataset, images: list[LabeledImage], num_workers: int
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    first: dict[bytes, LabeledImage] = {}
    with ThreadPoolExecutor(num_workers) as pool:
        contents = pool.map(_read, (dataset.tree.file_name(image.path) for image in images))
        progress = tqdm(contents, total=len(images), desc="images", disable=None)
        for image, content in zip(images, progress, strict=True):
            if isinstance(content, str):
                found["image_unreadable"].append(f"{image.path} ({image.split}): {content}")
                continue
            other = first.setdefault(content, image)
            pair = f"{other.path} ({other.split}) and {image.path} ({image.split})"
            if other.split != image.split:
                found["same_image_in_two_splits"].append(pair)
            if other.class_id != image.class_id:
                found["same_image_in_two_classes"].append(pair)
    return found


def _read(file_name: str) -> bytes | str:
    """Return a hash of an image file's bytes, or what is wrong with it."""
    try:
        data = read_bytes(file_name)
        decode_rgb(data, file_name, exif=False, deep="refuse")
    except InputError as error:
        return str(error)
    return hashlib.sha256(data).digest()


def _classes_without_images(dataset: LabeledDataset) -> Iterable[str]:
    for split in dataset.splits:
        counts = _class_sizes(dataset, split)
        for class_id, name in sorted(dataset.layout.class_names.items()):
            if not counts[class_id]:
                yield f"{name} ({split})"


def _other_counts(dataset: LabeledDataset) -> Iterable[str]:
    for split in dataset.splits:
        size, expected = _class_sizes(dataset, split).total(), dataset.expected_count(split)
        if expected not in (None, size):
            yield f"{split} has {size:,} images, expected {expected:,}"
    size, expected = len(dataset.class_names), dataset.expected_classes
    if expected not in (None, size):
        yield f"{size:,} classes, expected {expected:,}"


def _class_sizes(dataset: LabeledDataset, split: str) -> Counter:
    return Counter(image.class_id for image in dataset.layout.images if image.split == split)


def format_classification(check: ClassificationCheck, num_examples: int | None = None) -> str:
    """Return a report in lines.

    Args:
        check: what was found.
        num_examples: shown of each kind; None shows all errors, and 3 of each kind of warning.
    """
    dataset = check.dataset
    lines = [
        f"{dataset.name}: {len(dataset.class_names):,} classes, '{dataset.tree.file_name('')}'"
    ]
    for split in dataset.splits:
        sizes = _class_sizes(dataset, split)
        per_class = [sizes[class_id] for class_id in dataset.layout.class_names]
        least, most = min(per_class), max(per_class)
        spread = f"{least:,} a class" if least == most else f"{least:,} to {most:,} a class"
        lines.append(f"    {split}: {sizes.total():,} images, {spread}")
    for kind, found in check.findings.items():
        severity, title = KINDS[kind]
        shown = num_examples
        if shown is None:
            shown = len(found) if severity == ERROR else 3
        lines += ["", f"{severity}: {len(found)} × {title} [{kind}]"]
        lines += [f"    {line}" for line in found[:shown]]
        if len(found) > shown:
            lines.append(f"    and {len(found) - shown} more")
    totals = [(severity, check.total(severity)) for severity in (ERROR, WARNING)]
    summary = ", ".join(f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in totals)
    return "\n".join([*lines, "", summary if check.findings else "nothing wrong"])


def classification_as_dict(check: ClassificationCheck) -> dict:
    """Return what was found as JSON can hold it."""
    dataset = check.dataset
    return {
        "classes": len(dataset.class_names),
        "images": {split: _class_sizes(dataset, split).total() for split in dataset.splits},
        "errors": check.total(ERROR),
        "warnings": check.total(WARNING),
        "kinds": [
            {
                "kind": kind,
                "severity": KINDS[kind][0],
                "title": KINDS[kind][1],
                "count": len(found),
                "findings": found,
            }
            for kind, found in check.findings.items()
        ],
    }
