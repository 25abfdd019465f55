"""Classification datasets by name: reading the lists of an official layout."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bpt_det.data.archives import FileTree, locate
from bpt_det.data.images import is_image_name
from bpt_det.data.labeled_dataset import LabeledDataset, check_selection
from bpt_det.data.splits import TRAINVAL, Layout, LayoutError, draw_validation, take_fraction
from bpt_det.utils.errors import InputError, shorten

from .catalog import SHARDS_PREFIX, DatasetSpec, find_spec, prefix_of
from .folders import find_splits
from .shards import find_shards
from .split_files import SPLIT_FILES, has_split_files, read_split_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassificationData(Sequence):
    """One split of a dataset: a sequence of its records.

    Args:
        records: ``file_name`` (for `read_rgb`), ``label`` (index into ``class_names``) and
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
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    *,
    fraction: float = 100.0,
    fold: str | None = None,
) -> ClassificationData:
    """Load one split of a dataset.

    Where the dataset has VPT's three split files they count; where it has no validation split
    of its own, one is drawn from its training part, never from its test part.

    Args:
        name: ``cub``, ``nabirds``, ``flowers``, ``dogs``, ``cars``, ``imagenet``,
            ``shapes_crops``, ``folder:PATH``, or ``shards:PATH``, see `find_shards`.
        root: the dataset's folder, or one that holds it under its usual name, or a zip archive of
            it; None takes ``$DETECTRON2_DATASETS``, or else ``datasets``. Not used for
            names with a path.
        split: ``train``, ``val``, ``test``, or ``trainval``: the first two together.
        fraction: percentage of each class's training images, in (0, 100].
        fold: as in `read_dataset`.

    Raises:
        InputError: the name is unknown, a file or an image is missing or malformed, a label is out
            of range, a class has no training image, or there is no such split or fold.
    """
    check_selection(split, fraction)
    return load_split(read_dataset(name, root, fold), split, fraction)


def load_split(dataset: LabeledDataset, split: str, fraction: float = 100.0) -> ClassificationData:
    """Return the records of one split of a dataset, see `load_classification`; logs the counts.

    Raises:
        InputError: there is no such split, an image is missing, or a value is out of range.
    """
    check_selection(split, fraction)
    images = dataset.select(split)
    text = "%s %s: %d images, %d classes"
    logger.debug(text, dataset.name, split, len(images), len(dataset.class_ids))
    expected = dataset.expected_count(split)
    if expected not in (None, len(images)):
        text = "%s %s has %d images; Table 6 of the paper's supplementary has %d"
        logger.warning(text, dataset.name, split, len(images), expected)
    if fraction < 100 and split in ("train", TRAINVAL):
        images = take_fraction(images, fraction)
        text = "%s %s: %g %% of each class, %d images"
        logger.info(text, dataset.name, split, fraction, len(images))
    labels = {class_id: label for label, class_id in enumerate(dataset.class_ids)}
    records = [
        {
            "file_name": dataset.tree.file_name(image.path),
            "label": labels[image.class_id],
            "image_id": image.path,
        }
        for image in images
    ]
    return ClassificationData(records, dataset.class_names)


def read_dataset(
    name: str, root: str | Path | None = None, fold: str | None = None
) -> LabeledDataset:
    """Read the lists of a dataset and list its files; of ImageNet that may take minutes.

    Args:
        name: as in `load_classification`.
        root: as in `load_classification`.
        fold: ``i/k``: the validation images are the i-th of k folds of train and val; None: those
            of the dataset.

    Raises:
        InputError: the name is unknown, a list is missing or malformed, a label is out of range,
            a class has no training image, or the fold is malformed.
    """
    spec = find_spec(name)
    tree = _find_tree(name, spec, root)
    try:
        layout = _read_layout(tree, spec)
    except LayoutError as error:
        raise InputError(f"{error}; correct that, or see {spec.advice}") from error
    num_classes = len(layout.class_names)
    if spec.num_classes not in (None, num_classes):
        text = "%s has %d classes; Table 6 of the paper's supplementary has %d"
        logger.warning(text, name, num_classes, spec.num_classes)
    dataset = LabeledDataset(name, tree, layout, spec.advice, spec.counts, spec.num_classes)
    return dataset if fold is None else dataset.with_fold(fold)


def _find_tree(name: str, spec: DatasetSpec, root: str | Path | None) -> FileTree:
    prefix = prefix_of(name)
    if not prefix:
        root = Path(root or os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()
        return locate(root, spec.folder, (*spec.anchors, *SPLIT_FILES), spec.advice)
    folder = Path(name.removeprefix(prefix)).expanduser()
    if prefix == SHARDS_PREFIX:
        return find_shards(str(folder), spec.advice)
    if not os.path.exists(folder):
        raise InputError(f"{name}: '{folder}' does not exist; {spec.advice}", parameter="name")
    tree = FileTree(folder, advice=spec.advice)
    _refuse_shards(name, tree)
    while (inner := _single_folder(tree)) is not None:
        tree = tree.inside(inner)
    return tree


def _refuse_shards(name: str, tree: FileTree) -> None:
    """Refuse a folder of tar files without images, and a tar file with labels beside images."""
    has_labels = any(path.lower().endswith(".cls") for path in tree.files)
    has_shards = any(path.lower().endswith(".tar") for path in tree.files)
    if has_labels or (has_shards and not any(map(is_image_name, tree.files))):
        raise InputError(
            f"{name} holds {'labels NAME.cls' if has_labels else 'tar files'}, not class folders; "
            f"give it as {SHARDS_PREFIX}{tree.root}",
            parameter="name",
        )


def _single_folder(tree: FileTree) -> str | None:
    """Return the one folder around all class folders or splits, as exports and archives have it."""
    tops = [folder for folder in tree.folders if "/" not in folder]
    if len(tops) != 1 or has_split_files(tree) or find_splits(tops, ""):
        return None
    inside = [folder for folder in tree.folders if folder.startswith(f"{tops[0]}/")]
    return tops[0] if inside or has_split_files(tree.inside(tops[0])) else None


def _read_layout(tree: FileTree, spec: DatasetSpec) -> Layout:
    layout = _read_lists(tree, spec)
    if "val" not in layout.splits and spec.draws_validation:
        layout.images = draw_validation(layout.images, spec.validation_share)
        layout.splits = (*layout.splits, "val")
    trained = {image.class_id for image in layout.images if image.split == "train"}
    empty = [name for class_id, name in layout.class_names.items() if class_id not in trained]
    if empty:
        raise LayoutError(
            f"{len(empty)} classes of '{layout.source}' have no training image: {shorten(empty)}"
        )
    if len(layout.class_names) < 2:
        raise InputError(f"'{layout.source}' has one class; a classifier needs two or more")
    return layout


def _read_lists(tree: FileTree, spec: DatasetSpec) -> Layout:
    if not has_split_files(tree):
        return spec.read(tree)
    official = None
    needed = [anchor for anchor in spec.anchors if "." in anchor]
    if needed and all(tree.holds(file) for file in needed):
        official = spec.read(tree)
    return read_split_files(tree, official, spec.highest_label)
