"""COCO exports as annotation tools write them: a file for each split, and images beside them.

CVAT, Label Studio and Roboflow put both into folders of their own, and a tool may name an image by
where it lay on its server. Each image is looked for near its annotation file, then anywhere below
the folder, if one file only has its name.
"""

import logging
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from bpt_det.data.archives import FileTree, is_file
from bpt_det.data.coco import read_annotation_file
from bpt_det.data.images import is_image_name
from bpt_det.data.splits import SPLIT_NAMES
from bpt_det.utils.errors import InputError, shorten

from .base import check_split

logger = logging.getLogger(__name__)

_ROBOFLOW = "_annotations.coco.json"  # its category 0 is the group of all others


class CocoFile:
    """One annotation file in COCO's format, with names as they are in it.

    Args:
        file: its path, or that of one inside an archive.
    """

    name = "COCO"
    splits: tuple[str, ...] = ()

    def __init__(self, file: str) -> None:
        self.file = file

    def read(self, split: str | None) -> dict:
        """Return the content of the file."""
        check_split(self, split, f"'{self.file}'")
        return _read(self.file)

    @cached_property
    def image_root(self) -> str:
        """The folder near the file that holds the image that it names first.

        Raises:
            InputError: there is none.
        """
        images = self.read(None)["images"]
        name = images[0].get("file_name") if images and isinstance(images[0], dict) else None
        places = list(_folders_near(self.file))
        if isinstance(name, str):
            for folder in places:
                if is_file(posixpath.join(folder, name)):
                    return folder
        raise InputError(
            f"the images of '{self.file}' are not found: '{name}' is not in "
            f"{shorten(places, 4)}; name their folder, as in {self.file}:FOLDER."
        )


class CocoExport:
    """A folder or archive with COCO's annotation files, see the module.

    Args:
        tree: folder or archive.
        files: its annotation files, relative.

    Raises:
        InputError: two files are of one split.
    """

    name = "COCO"

    def __init__(self, tree: FileTree, files: Sequence[str]) -> None:
        self.tree = tree
        self.image_root = tree.file_name("")
        self.what = f"'{self.image_root}'"
        self._files: dict[str, str] = {}
        for file in files:
            split = split_of_file(file) if len(files) > 1 else split_of_file(file) or ""
            if split is None or split in self._files:
                raise InputError(
                    f"{self.what} holds {len(files)} annotation files ({shorten(files)}), of which "
                    "several are of one split; name one of them, or its folder."
                )
            self._files[split] = file

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that files or folders are named after."""
        return tuple(split for split in self._files if split)

    def read(self, split: str | None) -> dict:
        """Return the content of the file of a split, with names relative to the folder.

        Raises:
            InputError: there is no such split, or several and none is named.
        """
        check_split(self, split, self.what)
        if split is None and len(self._files) > 1:
            raise InputError(f"{self.what} has the splits {', '.join(self.splits)}; name one.")
        file = self._files[split] if split else next(iter(self._files.values()))
        content = _read(self.tree.file_name(file))
        for image in content["images"]:
            if isinstance(image, dict) and isinstance(image.get("file_name"), str):
                image["file_name"] = self._find(image["file_name"], file)
        return content

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        by_name: dict[str, list[str]] = {}
        for path in self.tree.files:
            if is_image_name(path):
                by_name.setdefault(posixpath.basename(path), []).append(path)
        return by_name

    def _find(self, name: str, file: str) -> str:
        """Return an image's path in the tree, or its name where it is not there."""
        relative = name.replace("\\", "/").lstrip("/")
        for folder in _folders_near(file):
            path = posixpath.normpath(posixpath.join(folder, relative))
            if path in self.tree.files:
                return path
        same = self._by_name.get(posixpath.basename(relative), [])
        return same[0] if len(same) == 1 else name


def split_of_file(file: str) -> str | None:
    """Return the split that an annotation file is of, by its name or that of its folder."""
    folder, name = posixpath.split(file)
    for part in (posixpath.splitext(name)[0], posixpath.basename(folder)):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_NAMES:
                return SPLIT_NAMES[word]
    return None


def _folders_near(file: str) -> Iterator[str]:
    """Yield the folders that a file's images may lie in, the likeliest first."""
    folder, name = posixpath.split(file)
    part = re.sub(r"^instances_", "", posixpath.splitext(name)[0])  # as in instances_val2017.json
    for top in (folder, posixpath.dirname(folder)):
        yield top
        for below in (part, "images", f"images/{part}"):
            yield posixpath.join(top, below)


def _read(file: str) -> dict:
    """Return the content of an annotation file, without what a tool writes that means no more.

    Roboflow lists the group of all classes as one of them. CVAT, by datumaro's exporter, marks
    every mask that is no polygon as a crowd region.
    """
    content = read_annotation_file(file)
    _unmark_masks_of_cvat(content, file)
    categories = content["categories"]
    if posixpath.basename(file) != _ROBOFLOW or len(categories) < 2:
        return content
    first, others = categories[0], categories[1:]
    used = {a.get("category_id") for a in content.get("annotations", []) if isinstance(a, dict)}
    if (
        first.get("id") == 0
        and 0 not in used
        and all(other.get("supercategory") == first.get("name") for other in others)
    ):
        content["categories"] = others
    return content


def _unmark_masks_of_cvat(content: dict, file: str) -> None:
    """Take CVAT's masks as single objects, where all of them are crowd regions and nothing else."""
    annotations = [a for a in content.get("annotations", []) if isinstance(a, dict)]
    if not any(_is_of_cvat(annotation) for annotation in annotations):
        return
    masks = [a for a in annotations if isinstance(a.get("segmentation"), dict)]
    crowds = [a for a in annotations if a.get("iscrowd")]
    if not masks or len(masks) != len(crowds) or not all(a.get("iscrowd") for a in masks):
        return
    for annotation in masks:
        annotation["iscrowd"] = 0
    text = "'%s': CVAT marks every mask as a crowd region; these %d are taken as single objects"
    logger.warning(text, file, len(masks))


def _is_of_cvat(annotation: dict) -> bool:
    attributes = annotation.get("attributes")
    return isinstance(attributes, dict) and "occluded" in attributes
