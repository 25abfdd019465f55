"""Convert a dataset of any format that training reads into clean COCO annotation files.

Reads a YOLO data.yaml, a folder of Pascal VOC or labelme, a COCO export of CVAT, Label Studio or
Roboflow, a COCO file, or a zip archive of one of these, with all checks that training makes. Writes
one file for each of the dataset's splits, or annotations.json where it has none:

    bpt-det convert mine/data.yaml --output mine_coco
    bpt-det convert export.zip --output mine_coco --copy-images --polygons

Images stay where they are, and the last lines say how to train on them. With --copy-images they are
copied, out of archives too, so the folder stands alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import add_log_options, build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("convert", __doc__, takes_settings=False)
    add = parser.add_argument
    add("source", help="path of the dataset, or FILE:FOLDER as in data.train=")
    add("--output", required=True, type=Path, help="folder for the files; it must be new or empty")
    add("--copy-images", action="store_true", help="copy the images into OUTPUT/images")
    add(
        "--polygons",
        action="store_true",
        help="write masks as polygons along their pixels, where they have no hole",
    )
    add(
        "--single-class",
        action="store_true",
        help="write all classes as one, for a detector of objects of any class",
    )
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, convert, and return the exit status."""
    args = build_parser().parse_args(argv)
    from .actions.convert import run

    return run(args)
