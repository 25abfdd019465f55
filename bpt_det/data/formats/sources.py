"""Annotation sources: a path, and which part of what lies there; the door to all formats.

A source is written ``PATH``, ``PATH#SPLIT`` for one of the dataset's own splits, or with ``80%``
and ``20%`` (``PATH#80%``, ``PATH#train,20%``) for the two sides of a split that a hash makes of
images that have none to validate on.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from bpt_det.data.archives import FileTree, archive_at, find_tree, is_file
from bpt_det.data.coco import absolute_path
from bpt_det.data.splits import SPLIT_NAMES
from bpt_det.utils.errors import InputError, shorten

from .base import FormattedDataset, split_of
from .coco_export import CocoExport, CocoFile
from .labelme import LabelmeDataset
from .voc import VocDataset
from .yolo import YoloDataset

TRAIN_SHARE, VAL_SHARE = "80%", "20%"
_SHARE = 0.2  # of the images, for validation
_PART = re.compile(rf"#({'|'.join(SPLIT_NAMES)})?,?(80%|20%)?$")
_MOST_SNIFFED = 50  # files of one suffix and folder that are looked into, or up to twice as many
_HEAD = 2**16  # bytes of each
_ROBOFLOW_COPY = re.compile(r"\.rf\.\w+(?=\.\w+$)")  # in names of several copies of one image
_KNOWN = (
    "a YOLO data.yaml, a Pascal VOC folder, a folder of labelme's JSON files, COCO's format, or a "
    "zip or tar archive of one of these"
)


@dataclass(frozen=True)
class AnnotationSource:
    """Where annotations are: a path, one of the dataset's splits, and a side of a hash split."""

    path: str
    split: str | None = None
    share: str = ""

    def __str__(self) -> str:
        part = ",".join(filter(None, (self.split, self.share)))
        return f"{self.path}#{part}" if part else self.path

    @property
    def exists(self) -> bool:
        """Whether there is a file or folder of the path."""
        return is_file(self.path) or find_tree(self.path) is not None


def parse_source(text: str) -> AnnotationSource:
    """Return the source that a text names; its path is made absolute.

    A path that exists as it stands has no part, whatever it ends in.
    """
    whole = AnnotationSource(absolute_path(text))
    match = _PART.search(text)
    if whole.exists or not match or not (match[1] or match[2]):
        return whole
    split = SPLIT_NAMES[match[1]] if match[1] else None
    return AnnotationSource(absolute_path(text[: match.start()]), split, match[2] or "")


def source_exists(source: str | os.PathLike) -> bool:
    """Return whether there is a file or folder of a source."""
    return parse_source(os.fspath(source)).exists


def read_annotations(source: str | os.PathLike) -> dict:
    """Return the content of a COCO annotation file, whatever the format of a source is.

    Raises:
        InputError: there is nothing that can be read; or what is wrong with it.
    """
    parsed = parse_source(os.fspath(source))
    content = open_dataset(parsed.path).read(parsed.split)
    if not parsed.share:
        return content
    part = take_share(content, parsed.share)
    if not part["images"]:
        raise InputError(
            f"'{parsed.path}' has too few images ({len(content['images'])}) to hold some out for "
            "validation; name data to evaluate on."
        )
    return part


def open_dataset(path: str) -> FormattedDataset:
    """Return the reader of what lies at a path: a file, a folder, an archive, or inside one.

    Raises:
        InputError: it is of no known format, or holds several datasets.
    """
    lower = path.lower()
    if (tree := find_tree(path)) is not None:
        return _find_dataset(tree)
    folder, name = os.path.split(path)
    above = find_tree(folder)
    if lower.endswith((".yaml", ".yml")) or name == "classes.txt":
        return YoloDataset(above or FileTree(folder), name)
    if lower.endswith(".xml"):
        raise InputError(f"'{path}' is of one image; give the folder of the dataset.")
    if above and lower.endswith(".json") and above.holds(name) and _sniff(above, name) == "labelme":
        raise InputError(f"'{path}' is of one image; give the folder of labelme's files.")
    return CocoFile(path)


def _find_dataset(tree: FileTree) -> FormattedDataset:
    found: dict[str, list[str]] = {}
    for suffixes in ((".yaml", ".yml"), (".xml",), (".json",)):
        files = sorted(f for f in tree.files if f.lower().endswith(suffixes))
        for file in _some_of_each_folder(files):
            kind = _sniff(tree, file)
            if kind is not None:
                found.setdefault(kind, []).append(file)
    if not found:
        lists = [file for file in sorted(tree.files) if os.path.basename(file) == "classes.txt"]
        found = {"yolo": lists} if lists else {}
    where = f"'{tree.file_name('')}'"
    if not found:
        raise InputError(f"{where} holds no annotations in a known format: {_KNOWN}.")
    tops = {kind: _tops(kind, files) for kind, files in found.items()}
    places = [f"{place or '.'} ({kind})" for kind, several in tops.items() for place in several]
    if len(places) > 1:
        raise InputError(
            f"{where} holds {len(places)} datasets or versions of one: {shorten(places)}; name "
            "the folder or file of one of them."
        )
    kind, files = next(iter(found.items()))
    return _READERS[kind](tree, files)


def _some_of_each_folder(files: Sequence[str]) -> Iterator[str]:
    by_folder: dict[str, list[str]] = {}
    for file in files:
        by_folder.setdefault(os.path.dirname(file), []).append(file)
    for several in by_folder.values():
        yield from several[:: max(1, len(several) // _MOST_SNIFFED)]


def _tops(kind: str, files: Sequence[str]) -> list[str]:
    """Return what tells several datasets of one format apart: the folders or files of each."""
    if kind == "yolo":
        return list(files)
    if kind == "coco":
        return sorted(
            {
                re.sub(r"(^|/)(annotations|train|valid|val|test)$", "", os.path.dirname(f))
                for f in files
            }
        )
    if kind == "voc":
        folders = {os.path.dirname(file) for file in files}
        kits = [f for f in folders if os.path.basename(f) == "Annotations"]
        if kits:
            return sorted(kits)
    split = {os.path.dirname(os.path.dirname(file)) for file in files if split_of(file)}
    return sorted(split) or [""]


_READERS: dict[str, Callable[[FileTree, Sequence[str]], FormattedDataset]] = {
    "yolo": lambda tree, files: YoloDataset(tree, files[0]),
    "coco": CocoExport,
    "voc": lambda tree, files: VocDataset(tree, files[0]),
    "labelme": lambda tree, files: LabelmeDataset(tree, files[0]),
}


def _sniff(tree: FileTree, file: str) -> str | None:
    """Return the format that the beginning of a file is of, None if of none."""
    head = tree.read(file)[:_HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.replace(b"\0", b"")
    lower = file.lower()
    if lower.endswith(".xml"):
        return "voc" if re.search(rb"<annotation[\s/>]", head) else None
    if lower.endswith(".json"):
        if re.search(rb'"shapes"\s*:\s*\[', head):
            return "labelme"
        is_coco = re.search(rb'"(images|annotations|categories|licenses)"\s*:\s*\[', head)
        return "coco" if is_coco else None
    keys = set(re.findall(rb"^(\w+)\s*:", head, re.MULTILINE))
    return "yolo" if b"names" in keys and keys & {b"train", b"val", b"valid", b"test"} else None


def choose_parts(
    train: str | None, val: str | None, *, needs_val: bool = True
) -> dict[str, AnnotationSource]:
    """Return what to train on and what to evaluate on.

    A dataset with splits of its own gives these. Where there is nothing to evaluate on, a fifth of
    the training images is held out, by a hash of their names.

    Args:
        train: source of the training data, if any.
        val: source to evaluate on, if any.
        needs_val: whether there is something to evaluate on among what is returned.

    Raises:
        InputError: a dataset has splits, but not the one that is needed.
    """
    chosen: dict[str, AnnotationSource] = {}
    if val is not None:
        chosen["val"] = _choose(parse_source(val), "val")
    if train is None:
        return chosen
    source = parse_source(train)
    splits = open_dataset(source.path).splits
    chosen["train"] = _choose(source, "train", splits)
    if val is not None or not needs_val:
        return chosen
    if "val" in splits and chosen["train"].split == "train" and not source.share:
        chosen["val"] = replace(source, split="val")
    else:
        chosen["train"], chosen["val"] = both_sides(chosen["train"])
    return chosen


def both_sides(source: AnnotationSource) -> tuple[AnnotationSource, AnnotationSource]:
    """Return the side of a hash split to train on, 80% unless the source has one, and the other."""
    share = source.share or TRAIN_SHARE
    other = VAL_SHARE if share == TRAIN_SHARE else TRAIN_SHARE
    return replace(source, share=share), replace(source, share=other)


def _choose(
    source: AnnotationSource, split: str, splits: Sequence[str] | None = None
) -> AnnotationSource:
    if source.split is not None:
        return source
    splits = open_dataset(source.path).splits if splits is None else splits
    if not splits or split in splits:
        return replace(source, split=split if splits else None)
    raise InputError(
        f"'{source.path}' has the splits {', '.join(splits)} but not {split}; name one, as in "
        f"{source.path}#{splits[0]}."
    )


def take_share(content: dict, share: str) -> dict:
    """Return the content with the images of one side of a hash split, and their annotations.

    The side of an image follows from its name alone, so more images move none of the others.
    Copies of one image by Roboflow, which augments before it exports, are on one side.
    """
    names = {
        index: str(image.get("file_name"))
        for index, image in enumerate(content["images"])
        if isinstance(image, dict)
    }
    held_out = held_out_names(names.values())
    is_val = share == VAL_SHARE
    images = [
        image
        for index, image in enumerate(content["images"])
        if index not in names or (names[index] in held_out) == is_val
    ]
    ids = {image["id"] for image in images if isinstance(image, dict) and "id" in image}
    return {
        **content,
        "images": images,
        "annotations": [
            a
            for a in content.get("annotations", [])
            if isinstance(a, dict) and a.get("image_id") in ids
        ],
    }


def held_out_names(names: Iterable[str]) -> set[str]:
    """Return the names of the images that are held out for validation; at least one of several."""
    positions = {name: _position(name) for name in names}
    held_out = {name for name, position in positions.items() if position < _SHARE}
    if not held_out and len(positions) > 1:
        held_out = {min(positions, key=lambda name: positions[name])}
    return held_out


def _position(name: str) -> float:
    """Return a number in [0, 1) that follows from the name of an image."""
    origin = _ROBOFLOW_COPY.sub("", name.replace("\\", "/"))
    digest = hashlib.sha256(origin.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def source_files(source: str | os.PathLike) -> tuple:
    """Return what changes when a source does: its name, the bytes of its files, and their states.

    Raises:
        OSError, InputError: there is no such file, or a data.yaml is malformed.
    """
    parsed = parse_source(os.fspath(source))
    path = parsed.path
    paths = _files_at(path)
    if not archive_at(path) and path.lower().endswith((".yaml", ".yml", ".txt")):
        paths = sorted({*paths, *_files_at(open_dataset(path).image_root)})
    states = [os.stat(file) for file in paths]
    total, latest = sum(s.st_size for s in states), max((s.st_mtime_ns for s in states), default=0)
    return str(parsed), total, latest, states[0].st_ino if states else 0, hash(tuple(paths))


def _files_at(path: str) -> list[str]:
    """Return the file of a path, that of the archive that it is in, or those of a folder."""
    if place := archive_at(f"{path}/"):
        return [place[0]]
    if os.path.isdir(path):
        return sorted(os.path.join(path, file) for file in FileTree(path).files)
    return [path]
