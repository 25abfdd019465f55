"""Check a COCO-format or a classification dataset and list all its faults at once.

Checks ids, boxes, masks and categories, and decodes every image as training does. What data.train=
takes is checked, in all of its splits: a YOLO data.yaml, a folder of Pascal VOC or labelme, a COCO
export, a zip archive. Examples:

    bpt-det check /data/mine/train.json /data/mine/images
    bpt-det check /data/mine/data.yaml
    bpt-det check coco_2017_val --skip-images --json report.json

For a classification dataset it checks lists and labels of all splits, and decodes every image and
compares it with all others:

    bpt-det check folder:/data/mine
    bpt-det check cub --root /data

It also says what a dataset holds: objects by class, sizes, crowd regions; --draw shows them. Images
that two splits of a dataset share are found by their content.

Errors stop a run or falsify what it learns or measures; warnings concern objects that training
skips or clips, or that may be intended; notes need no action. The exit status is 0
without errors, 1 with errors (with --strict also with warnings), and 2 if nothing can be checked,
for instance because the file is not JSON.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bpt_det.data.validation import Limits

from .arguments import build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("check", __doc__, takes_settings=False)
    parser.add_argument(
        "annotations",
        help="annotation file, or a folder or archive; or FILE:FOLDER; or a registered name, as "
        "coco_2017_val; or a classification dataset as in data=, such as cub, folder:PATH or "
        "shards:PATH",
    )
    parser.add_argument(
        "images", nargs="?", help="folder of the images, or ARCHIVE.zip/FOLDER, as of annotations"
    )
    parser.add_argument(
        "--root",
        help="folder that holds the classification dataset (default: $DETECTRON2_DATASETS, or "
        "else datasets)",
    )
    add = parser.add_argument_group("checks").add_argument
    add("--skip-images", action="store_true", help="do not read the image files")
    add(
        "--min-mask-area",
        type=float,
        default=Limits.min_mask_area,
        help="report masks of fewer pixels as tiny (default: %(default)g)",
    )
    add(
        "--min-box-iou",
        type=float,
        default=Limits.min_box_iou,
        help="a mask whose bounding box has less IoU with its box disagrees, in [0, 1] (default: "
        "%(default)g)",
    )
    add("--num-workers", type=int, help="threads that decode images (default: one per core)")
    add = parser.add_argument_group("report").add_argument
    add(
        "--examples",
        type=int,
        help="examples shown of each kind of fault (default: 3, but all errors of a classification "
        "dataset)",
    )
    add("--strict", action="store_true", help="warnings count as errors")
    add("--json", type=Path, metavar="FILE", help="write the report as JSON too")
    add("--draw", type=Path, metavar="FOLDER", help="draw some images with their annotations")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, check the dataset, and return the exit status."""
    args = build_parser().parse_args(argv)
    from .actions.check import run

    return run(args)
