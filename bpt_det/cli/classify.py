"""Classify images and folders of images: the likeliest classes of each, as CSV and JSON.

Without --output a line per image is printed. With it, the folder gets predictions.csv (image_id,
prediction, confidence, ranked: names of the likeliest classes, separated by " | ") and
predictions.json: a list of images with file_name and classes, each with name, class_index and
probability. A file that cannot be read is named, the others go on, and the exit status is 1.

Without --checkpoint it is train.init_checkpoint=FILE of the command line, else the last one of the
run whose config.yaml is given or that lies in train.output_dir, else the one that the config starts
from:

    bpt-det classify --config-file output/birds/config.yaml --input bird.jpg
    bpt-det classify --config-file output/birds/config.yaml \\
        --checkpoint output/birds/model_best.pth --input photos --output output/classes
"""

import argparse
from collections.abc import Sequence

from .arguments import add_log_options, build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("classify", __doc__)
    add = parser.add_argument
    add("--config-file", required=True, help="config of the classifier, or a run's config.yaml")
    add("--checkpoint", help="checkpoint of a training run (default: see above)")
    add("--input", required=True, nargs="+", metavar="PATH", help="images and folders")
    add("--recursive", action="store_true", help="search the subfolders of folders too")
    add("--output", help="folder for the results")
    add("--top-k", type=int, default=5, help="classes of each image (default: 5)")
    add("--batch-size", type=int, default=32, help="images per batch (default: 32)")
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, classify, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.classify import run

    return run(args)
