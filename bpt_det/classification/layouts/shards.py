"""Tar shards of images and labels, as the package webdataset writes them.

A sample is all members of a shard that have a name in common up to its first dot: ``000.jpg`` and
``000.cls``. Members are read at their places in the shards, in any order, so shuffling, resumption
and many processes are those of a folder; decisions.md says why.
"""

import itertools
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from bpt_det.data.archives import FileTree, archive
from bpt_det.data.images import is_image_name, warn_of_left_out
from bpt_det.data.listing import is_hidden
from bpt_det.data.splits import SPLIT_NAMES, SPLITS, LabeledImage, Layout
from bpt_det.data.tar_files import TarArchive
from bpt_det.utils.errors import InputError, one_line, shorten

_LABEL_KINDS = ("cls", "json", "txt")  # suffixes; the first that a dataset has counts
_JSON_KEYS = ("label", "cls", "class")  # the first that a label in JSON has counts
_NAME_FILES = ("classnames.txt", "classes.txt")  # beside the shards, a class on each line
_MOST_SHARDS = 100_000  # that braces may name


class ShardTree(FileTree):
    """The members of several tar archives below a folder, as ``SHARD.tar/MEMBER``.

    Args:
        root: folder of the shards.
        shards: paths of the archives, relative to it.
        advice: see `FileTree`.
    """

    def __init__(self, root: Path, shards: Sequence[str], advice: str = "") -> None:
        super().__init__(root, advice=advice)
        self.shards = shards

    @cached_property
    def _listing(self) -> tuple[frozenset[str], frozenset[str], Counter[str]]:
        files, left_out = set(), Counter[str]()
        for shard in self.shards:
            opened = self.open(shard)
            files |= {f"{shard}/{name}" for name in opened.members if not is_hidden(name)}
            left_out += opened.left_out
        return frozenset(files), frozenset(), left_out

    def holds(self, path: str) -> bool:
        """Say whether there is such a member."""
        return ".tar/" in path.lower() and path in self.files

    def open(self, shard: str) -> TarArchive:
        """Return one of the archives."""
        opened = archive(self.file_name(shard))
        assert isinstance(opened, TarArchive)  # by its name
        return opened


def find_shards(place: str, advice: str) -> ShardTree:
    """Return the shards of a place.

    Args:
        place: a tar file; a folder with such, or with folders of such; or paths in the notation of
            shells, ``/data/{train-{000..127},val-{00..07}}.tar``.
        advice: see `FileTree`.

    Raises:
        InputError: there is no shard, or not each that the notation names.
    """
    if os.path.isdir(place):
        tree = FileTree(place)
        shards = sorted(path for path in tree.files if _is_tar(path))
        if not shards:
            raise InputError(
                f"'{place}' holds no tar files; a folder of images is folder:{place}; {advice}",
                parameter="name",
            )
        return ShardTree(Path(place), shards, advice)
    paths = [place] if os.path.isfile(place) else expand_braces(place)
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} shards do not exist: {shorten(missing)}; {advice}",
            parameter="name",
        )
    others = [path for path in paths if not _is_tar(path)]
    if others:
        near = f"; a zip archive is folder:{others[0]}" if others[0].endswith(".zip") else ""
        raise InputError(
            f"'{others[0]}' is no tar file that ends in .tar, uncompressed{near}; {advice}",
            parameter="name",
        )
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    return ShardTree(Path(root), [os.path.relpath(path, root) for path in paths], advice)


def expand_braces(pattern: str) -> list[str]:
    """Return what a shell makes of ``{a,b}`` and ``{00..15}``, which may be nested; no path twice.

    Raises:
        InputError: these are more paths than any dataset has shards.
    """
    start, depth = pattern.find("{"), 0
    cuts = [start]
    for position in range(max(start, 0), len(pattern)):
        letter = pattern[position]
        depth += (letter == "{") - (letter == "}")
        if depth == 0 or (letter == "," and depth == 1):
            cuts.append(position)
        if depth == 0:
            break
    if depth or len(cuts) < 2 or start < 0:
        return [pattern]
    parts = [pattern[left + 1 : right] for left, right in itertools.pairwise(cuts)]
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", parts[0])
    if bounds and len(parts) == 1:
        middles = _range(*bounds.groups())
    else:
        middles = [text for part in parts for text in expand_braces(part)]
    ends = expand_braces(pattern[cuts[-1] + 1 :])
    if len(middles) * len(ends) > _MOST_SHARDS:
        raise InputError(f"'{pattern}' names more than {_MOST_SHARDS:,} shards; correct it.")
    paths = [pattern[:start] + middle + end for middle in middles for end in ends]
    return list(dict.fromkeys(paths))


def _range(first: str, last: str) -> list[str]:
    low, high = sorted((int(first), int(last)))
    if high - low >= _MOST_SHARDS:
        return [first] * (_MOST_SHARDS + 1)  # which is refused
    is_padded = any(len(text) > 1 and text.startswith("0") for text in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return [f"{number:0{width}d}" for number in range(low, high + 1)]


def read_shards(tree: FileTree) -> Layout:
    """Read the labels of all samples, and the splits from the names of shards and their folders.

    A label is a whole number or the name of a class: ``.cls``, or in ``.txt``, or in ``.json``
    under ``label``, ``cls`` or ``class``. A file ``classnames.txt`` beside the shards names the
    classes 0, 1, and so on. Where no shard is called ``train`` or the like, all are for training.

    Raises:
        InputError: a shard is empty or cannot be read, an image has no label or a label no image,
            or a label is malformed or out of range.
    """
    assert isinstance(tree, ShardTree)
    splits = _splits_of(tree)
    names = _read_names(tree)
    kind, images = "", []
    faults: dict[str, list[str]] = defaultdict(list)
    for shard in tree.shards:
        opened = tree.open(shard)
        samples = _group(opened)
        kind = kind or _label_kind(samples, tree, shard)
        sound = [sample for sample in samples if _is_complete(sample, kind, shard, faults)]
        contents = opened.read_all([sample.labels[kind] for sample in sound])
        for sample, content in zip(sound, contents, strict=True):
            path = f"{shard}/{sample.images[0]}"
            try:
                label = _class_id(_parse(kind, content), names)
                images.append(LabeledImage(path, label, splits[shard]))
            except ValueError as error:
                faults["labels that cannot be used"].append(f"{path}: {one_line(error)}")
        opened.forget([name for name in opened.members if not is_image_name(name)])
    warn_of_left_out(tree.left_out, f"shards of '{tree.file_name('')}'")
    if faults:
        texts = [f"{len(paths)} {what} ({shorten(paths)})" for what, paths in faults.items()]
        raise InputError(
            f"the shards of '{tree.file_name('')}' have {'; '.join(texts)}; pack them again."
        )
    return _layout(tree, images, names, [s for s in SPLITS if s in splits.values()])


def _layout(
    tree: ShardTree, images: list[LabeledImage], names: list[str], splits: list[str]
) -> Layout:
    ids = {image.class_id for image in images}
    if len({type(class_id) for class_id in ids}) > 1:
        texts = sorted(class_id for class_id in ids if isinstance(class_id, str))
        raise InputError(
            f"'{tree.file_name('')}': some labels are numbers and some are names "
            f"({shorten(texts)}); use one of them, or name the classes in {_NAME_FILES[0]}."
        )
    class_names = {class_id: str(class_id) for class_id in ids} if not names else {}
    class_names.update(enumerate(names))
    return Layout(images, class_names, tree.file_name(""), tuple(splits))


class _Sample:
    """Members of a shard that belong together: images, and labels by their suffix."""

    __slots__ = ("images", "key", "labels")

    def __init__(self, key: str, members: list[str]) -> None:
        images = [name for name in members if is_image_name(name)]
        if len(images) > 1:  # 0.jpg counts, not 0.seg.png
            plain = [name for name in images if name.count(".", len(key)) == 1]
            images = plain if len(plain) == 1 else images
        if len(members) > 2:
            members.sort(key=lambda name: -name.count("."))  # 0.txt after 0.seg.txt
        self.key = key
        self.images = images
        self.labels = {name.rpartition(".")[2].lower(): name for name in members}


def _group(shard: TarArchive) -> list[_Sample]:
    shard.list_again()  # a dataset before this one may have taken labels from the list
    members = defaultdict(list)
    for name in shard.members:
        if not is_hidden(name):
            folder, slash, last = name.rpartition("/")
            members[folder + slash + last.partition(".")[0]].append(name)
    if not members:
        raise InputError(f"shard '{shard.path}' is empty; copy it again or remove it.")
    return [_Sample(key, members[key]) for key in sorted(members)]


def _label_kind(samples: list[_Sample], tree: ShardTree, shard: str) -> str:
    """Return the suffix of the labels of the first shard; it is that of all."""
    with_image = [sample for sample in samples if sample.images]
    for kind in _LABEL_KINDS:
        if any(kind in sample.labels for sample in with_image):
            return kind
    place = tree.file_name(shard)
    if not with_image:
        raise InputError(f"shard '{place}' holds no images; {tree.advice}")
    raise InputError(
        f"no image in shard '{place}' has a label, a member of its name that ends in .cls, .json "
        f"or .txt; where folders in it are the classes, give folder:{place}; {tree.advice}"
    )


def _is_complete(sample: _Sample, kind: str, shard: str, faults: dict[str, list[str]]) -> bool:
    """Whether a sample has one image and a label; what it lacks is added to the faults."""
    has_label = kind in sample.labels
    if len(sample.images) > 1:
        faults["samples with several images"].append(f"{shard}/{sample.key}")
    elif sample.images and not has_label:
        faults[f"images without a label .{kind}"].append(f"{shard}/{sample.images[0]}")
    elif has_label and not sample.images:
        faults["labels without an image"].append(f"{shard}/{sample.labels[kind]}")
    return len(sample.images) == 1 and has_label


def _splits_of(tree: ShardTree) -> dict[str, str]:
    """Return the split of each shard, by the words in its name and in those of its folders."""
    splits = {}
    for shard in tree.shards:
        words = re.split(r"[^a-z]+", shard.lower())
        named = sorted({SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES})
        if len(named) > 1:
            raise InputError(
                f"shard '{tree.file_name(shard)}' names the splits {' and '.join(named)}; rename "
                "it after one."
            )
        splits[shard] = named[0] if named else ""
    if not any(splits.values()):
        return dict.fromkeys(splits, "train")
    unnamed = [shard for shard, split in splits.items() if not split]
    if unnamed:
        raise InputError(
            f"{len(unnamed)} of the {len(splits)} shards of '{tree.file_name('')}' name no split "
            f"({shorten(unnamed)}), as the others do; call each train, val or test."
        )
    if "train" not in splits.values():
        raise InputError(
            f"no shard of '{tree.file_name('')}' is called train; give those of all splits, as in "
            f"{{train,val}}-{{000..127}}.tar; {tree.advice}"
        )
    return splits


def _read_names(tree: ShardTree) -> list[str]:
    for name in _NAME_FILES:
        path = tree.root / name
        if path.is_file():
            text = path.read_text("utf-8", errors="replace")
            return [line.strip() for line in text.splitlines() if line.strip()]
    return []


def _parse(kind: str, content: bytes) -> int | str:
    """Return the label that a member holds.

    Raises:
        ValueError: it holds none.
    """
    if kind == "json":
        label = json.loads(content)
        if isinstance(label, dict):
            label = next((label[key] for key in _JSON_KEYS if key in label), None)
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise ValueError(f"has neither a number nor a name under {', '.join(_JSON_KEYS)}")
    else:
        label = content.decode("utf-8").strip()
    if isinstance(label, str):
        if not label.strip() or "\n" in label:
            raise ValueError("is empty" if not label.strip() else "has several lines")
        return int(label) if re.fullmatch(r"-?\d{1,18}", label) else label
    return label


def _class_id(label: int | str, names: list[str]) -> int | str:
    """Return the class of a label, by number where the classes have names.

    Raises:
        ValueError: there is no such class.
    """
    if isinstance(label, int) and (label < 0 or (names and label >= len(names))):
        highest = f" to {len(names) - 1}" if names else " or more"
        raise ValueError(f"is {label}, but classes are 0{highest}")
    if isinstance(label, str) and names:
        if label not in names:
            raise ValueError(f"is '{label}', which is none of the {len(names)} class names")
        return names.index(label)
    return label


def _is_tar(path: str) -> bool:
    return path.lower().endswith(".tar")
