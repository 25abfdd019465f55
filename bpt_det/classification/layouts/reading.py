"""Reading a dataset's lists and listing its files, once a process while they stay as they are.

A config asks for several splits of one dataset and for its classes; of ImageNet, listing alone
takes minutes on a network drive.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from bpt_det.data.archives import FileTree, locate
from bpt_det.data.splits import (
    SPLITS,
    TRAINVAL,
    LabeledImage,
    Layout,
    draw_validation,
    take_fraction,
)
from bpt_det.utils.errors import InputError, shorten

from .catalog import FOLDER_PREFIX, DatasetSpec, find_spec
from .split_files import SPLIT_FILES, has_split_files, read_split_files

_SETTLED_AFTER = 1.0  # seconds; a file changed twice in one tick of the clock has one time stamp


@dataclass(frozen=True)
class ReadDataset:
    """The images of a whole dataset; shared by all who ask for it, so never changed.

    Args:
        name: as in `load_classification`.
        spec: what is known about it.
        tree: its files.
        layout: its images with a validation split, and its classes.
        reported: splits whose counts have been logged.
    """

    name: str
    spec: DatasetSpec
    tree: FileTree
    layout: Layout
    reported: set[str] = field(default_factory=set)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have labeled images."""
        return self.layout.splits

    @property
    def class_names(self) -> list[str]:
        """One per class, in the order of the labels."""
        return [self.layout.class_names[class_id] for class_id in sorted(self.layout.class_names)]

    def expected_count(self, split: str) -> int | None:
        """Return the number of images of a split in Table 6, None where it is not listed."""
        counts = [self.spec.counts.get(part) for part in _parts(split)]
        return None if None in counts else sum(counts)

    def select(self, split: str, fraction: float = 100.0) -> list[LabeledImage]:
        """Return the images of a split, sorted by path.

        Args:
            split: ``train``, ``val``, ``test``, or ``trainval`` for the first two together.
            fraction: percentage of each class's training images, in (0, 100].

        Raises:
            InputError: there is no such split, or images of it are missing.
        """
        refuse_bad_selection(split, fraction)
        parts = _parts(split)
        if not set(parts) <= set(self.splits):
            raise InputError(
                f"{self.name} has no labeled images for split '{split}' in "
                f"'{self.layout.source}', only for {', '.join(self.splits)}; {self.spec.advice}"
            )
        images = sorted(image for image in self.layout.images if image.split in parts)
        self.tree.require([image.path for image in images], f"'{self.layout.source}'")
        if "train" in parts and fraction < 100:
            images = take_fraction(images, fraction)
        return images


def refuse_bad_selection(split: str, fraction: float) -> None:
    """Check what can be checked before anything is read.

    Raises:
        InputError: a value is out of range.
    """
    if split not in (*SPLITS, TRAINVAL):
        raise InputError(f"split '{split}' is not one of {', '.join((*SPLITS, TRAINVAL))}")
    if not isinstance(fraction, int | float) or not 0 < fraction <= 100:
        raise InputError(f"fraction={fraction} is not a percentage in (0, 100]")


def _parts(split: str) -> tuple[str, ...]:
    return ("train", "val") if split == TRAINVAL else (split,)


@dataclass(frozen=True)
class _Kept:
    key: tuple[str, ...]
    stamps: dict[str, tuple[int, ...] | None]
    dataset: ReadDataset


_kept: _Kept | None = None  # the last one: a config has one dataset


def read_dataset(name: str, root: str | Path | None = None) -> ReadDataset:
    """Read the lists of a dataset, or return what was read before if nothing has changed.

    Args:
        name: as in `load_classification`.
        root: as in `load_classification`.

    Raises:
        InputError: the name is unknown, a list is missing or malformed, a label is out of range,
            or a class has no training image.
    """
    global _kept
    spec = find_spec(name)
    if name.startswith(FOLDER_PREFIX):
        root = Path(name.removeprefix(FOLDER_PREFIX)).expanduser()
    else:
        root = Path(root or os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()
    key = (name, str(root), str(root.resolve()))
    if _kept and _kept.key == key and all(_stamp(p) == s for p, s in _kept.stamps.items()):
        return _kept.dataset
    started = time.time_ns()
    tree = _find_tree(name, spec, root)
    try:
        layout = _read_layout(tree, spec)
    except InputError as error:
        raise _with_next_step(error, spec.advice) from error
    dataset = ReadDataset(name, spec, tree, layout)
    stamps = {str(path): _stamp(path) for path in (root, *tree.sources())}
    newest = max((stamp[0] for stamp in stamps.values() if stamp), default=started)
    settled = newest < started - _SETTLED_AFTER * 1e9
    _kept = _Kept(key, stamps, dataset) if settled else None
    return dataset


def _with_next_step(error: InputError, advice: str) -> InputError:
    """Return an error of the lists with what to do about it, where its text does not say that."""
    text = str(error)
    return error if "; " in text else InputError(f"{text}; correct that, or see {advice}")


def _stamp(path: str | Path) -> tuple[int, ...] | None:
    """Return what changes with a file's content or a folder's entries; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _find_tree(name: str, spec: DatasetSpec, root: Path) -> FileTree:
    if not name.startswith(FOLDER_PREFIX):
        return locate(root, spec.folder, (*spec.anchors, *SPLIT_FILES), spec.advice)
    if not root.exists():
        raise InputError(f"data={name}: '{root}' does not exist; {spec.advice}")
    prefix = ""
    if root.is_file():  # an archive often holds one folder that holds everything
        while len(tops := _top_entries(FileTree(root, prefix))) == 1 and tops[0] != "train":
            prefix += f"{tops[0]}/"
    return FileTree(root, prefix, spec.advice)


def _top_entries(tree: FileTree) -> list[str]:
    return sorted({path.split("/")[0] for path in tree.files if "/" in path or path in SPLIT_FILES})


def _read_layout(tree: FileTree, spec: DatasetSpec) -> Layout:
    layout = _read_lists(tree, spec)
    if "val" not in layout.splits and spec.draws_validation:
        layout.images = draw_validation(layout.images, spec.validation_share)
        layout.splits = (*layout.splits, "val")
    trained = {image.class_id for image in layout.images if image.split == "train"}
    empty = [name for class_id, name in layout.class_names.items() if class_id not in trained]
    if empty:
        raise InputError(
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
