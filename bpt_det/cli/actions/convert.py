"""A dataset of any format as clean COCO files: what `bpt-det convert` does."""

import argparse
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from bpt_det.data.archives import read_bytes
from bpt_det.data.coco_dataset import read_coco
from bpt_det.data.coco_files import explain_missing, find_image_files
from bpt_det.data.formats import open_dataset, parse_source
from bpt_det.data.formats.writing import clean_content
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import progress_bar

from ..launch import run_tool
from ..logs import RESULT
from .check import find_sources

logger = logging.getLogger(__name__)


def convert(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    if args.output.exists() and (not args.output.is_dir() or any(args.output.iterdir())):
        raise InputError(f"--output '{args.output}' exists and is not empty; choose a new folder.")
    sources = find_sources(args.source, None)
    contents = {}
    for split, (file, root) in sources.items():
        dataset = read_coco(file)
        names = {key: image["file_name"] for key, image in dataset.images.items()}
        if root is None:  # of a file alone whose images are not near it: this says so
            root = open_dataset(parse_source(file).path).image_root
        paths, missing = find_image_files(names, root)
        if missing:
            raise InputError(f"'{file}': {explain_missing(missing, len(names), root)}")
        content = clean_content(dataset, as_polygons=args.polygons, single_class=args.single_class)
        contents[split] = content, paths
    copies: dict[str, str] = {}  # path of the image, by its name in the folder of copies
    if args.copy_images:
        for content, paths in contents.values():
            _name_copies(content, paths, copies)
    args.output.mkdir(parents=True, exist_ok=True)
    _copy_images(copies, args.output / "images")
    for split, (content, paths) in contents.items():
        root = str(sources[split][1])
        if args.copy_images:
            root = str(args.output / "images")
        else:
            for image in content["images"]:
                image["file_name"] = os.path.relpath(paths[image["id"]], root)
        file = args.output / f"{split or 'annotations'}.json"
        with atomic_write(file) as partial:
            partial.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        counts = [len(content[name]) for name in ("images", "annotations", "categories")]
        logger.info("%s: %d images, %d annotations, %d classes", file, *counts)
        key = "val" if split in ("val", "test") else "train"
        logger.log(RESULT, "data.%s=%s:%s", key, file.absolute(), os.path.abspath(root))


def _name_copies(content: dict, paths: Mapping, copies: dict[str, str]) -> None:
    """Set each ``file_name`` to that of the copy: the same, or its last part if it leads elsewhere.

    Args:
        content: of an annotation file, changed in place.
        paths: of the images, by id.
        copies: path by name, of the splits before; takes those of this one.

    Raises:
        InputError: two images would have one name.
    """
    for image in content["images"]:
        name = image["file_name"].replace("\\", "/").lstrip("/")
        if os.path.isabs(image["file_name"]) or ".." in name.split("/"):
            name = os.path.basename(name)
        path = paths[image["id"]]
        if copies.setdefault(name, path) != path:
            raise InputError(
                f"the copies of '{copies[name]}' and '{path}' would both be called '{name}'; "
                "rename one, or leave --copy-images out."
            )
        image["file_name"] = name


def _copy_images(copies: Mapping[str, str], folder: Path) -> None:
    """Copy images into a folder, given the path of each by its name there."""
    if not copies:
        return
    for name, path in progress_bar(iterable=copies.items(), desc="images", unit="image"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read_bytes(path))


def run(args: argparse.Namespace) -> int:
    """Convert, and return the exit status."""
    return run_tool(lambda: convert(args), args, to_stdout=True)
