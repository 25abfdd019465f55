"""A classification dataset by name: records of one split, and class names."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bpt_det.data.splits import TRAINVAL

from .reading import ReadDataset, read_dataset, refuse_bad_selection

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassificationData(Sequence):
    """One split of a dataset: a sequence of its records.

    Args:
        records: ``file_name`` (for ``read_stored``), ``label`` (index into ``class_names``) and
            ``image_id`` (path within the dataset), sorted by the last.
        class_names: one per class; those of the whole dataset, whatever the split.
    """

    records: list[dict[str, str | int]]
    class_names: list[str]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index):
        return self.records[index]


def load_classification(
    name: str, root: str | Path | None = None, split: str = "train", *, fraction: float = 100.0
) -> ClassificationData:
    """Load one split of a dataset.

    Where the dataset has VPT's three split files they count; where it has no validation split
    of its own, one is drawn from its training part, never from its test part.

    Args:
        name: ``cub``, ``nabirds``, ``flowers``, ``dogs``, ``cars``, ``imagenet``,
            ``shapes_crops`` or ``folder:PATH``.
        root: the dataset's folder, or one that holds it under its usual name, or a zip archive of
            it; None takes ``$DETECTRON2_DATASETS``, or else ``datasets``. Not used for
            ``folder:PATH``.
        split: ``train``, ``val``, ``test``, or ``trainval``: the first two together.
        fraction: percentage of each class's training images, in (0, 100].

    Raises:
        InputError: the name is unknown, a file or an image is missing or malformed, a label is out
            of range, a class has no training image, or there is no such split.
    """
    refuse_bad_selection(split, fraction)
    dataset = read_dataset(name, root)
    images = dataset.select(split)
    _report_counts(dataset, split, len(images))
    if fraction < 100 and split in ("train", TRAINVAL):
        images = dataset.select(split, fraction)
        logger.info("%s %s: %g %% of each class, %d images", name, split, fraction, len(images))
    class_ids = sorted(dataset.layout.class_names)
    indexes = {class_id: index for index, class_id in enumerate(class_ids)}
    records = [
        {
            "file_name": dataset.tree.file_name(image.path),
            "label": indexes[image.class_id],
            "image_id": image.path,
        }
        for image in images
    ]
    return ClassificationData(records, dataset.class_names)


def _report_counts(dataset: ReadDataset, split: str, num_images: int) -> None:
    """Log the counts of a split once, and where they differ from what is expected."""
    if split in dataset.reported:
        return
    is_first = not dataset.reported
    dataset.reported.add(split)
    name, spec, num_classes = dataset.name, dataset.spec, len(dataset.class_names)
    logger.info("%s %s: %d images, %d classes", name, split, num_images, num_classes)
    expected = dataset.expected_count(split)
    if expected is not None and num_images != expected:
        logger.warning(
            "%s %s has %d images; Table 6 of the paper's supplementary has %d",
            *(name, split, num_images, expected),
        )
    if is_first and spec.num_classes not in (None, num_classes):
        logger.warning(
            "%s has %d classes; Table 6 of the paper's supplementary has %d",
            *(name, num_classes, spec.num_classes),
        )
