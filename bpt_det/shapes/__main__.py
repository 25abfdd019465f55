"""Render the embedded dataset: a COCO-format detection dataset of textured shapes.

With --crops: single shapes cut out of such images, on a gray background, in class folders, for
classification; the numbers are then per class.

Examples:
    python -m bpt_det.shapes --output datasets/shapes --num-train 1500 --num-val 150
    python -m bpt_det.shapes --crops --output datasets/shapes_crops --num-train 100
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from bpt_det.utils.errors import EXIT_BAD_INPUT, InputError

from .crops import write_shape_crops
from .dataset import write_shapes

DETECTION_DEFAULTS = {"num_train": 1500, "num_val": 150, "image_size": 128}
CROP_DEFAULTS = {"num_train": 100, "num_val": 20, "num_test": 30, "crop_size": 64}  # per class


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bpt_det.shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--crops", action="store_true", help="render crops of single shapes in class folders"
    )
    _add_number(parser, "--num-train", "N")
    _add_number(parser, "--num-val", "N")
    _add_number(parser, "--num-test", "N")
    _add_number(parser, "--image-size", "PX", "longest side, ")
    _add_number(parser, "--crop-size", "PX", "side of a crop, ")
    parser.add_argument("--seed", type=int, default=0, help="seed of the images (default: 0)")
    return parser


def _add_number(parser: argparse.ArgumentParser, flag: str, metavar: str, text: str = "") -> None:
    """Add an option whose default depends on --crops; `_chosen` fills it in."""
    name = flag.removeprefix("--").replace("-", "_")
    modes = (DETECTION_DEFAULTS, ""), (CROP_DEFAULTS, " with --crops")
    defaults = [f"{known[name]}{mode}" for known, mode in modes if name in known]
    parser.add_argument(
        flag, type=int, metavar=metavar, help=f"{text}default: {', '.join(defaults)}"
    )


def _chosen(args: argparse.Namespace, defaults: dict[str, int]) -> dict[str, int]:
    """Return ``defaults`` with the given options; options of the other mode are an error."""
    given = {
        name: getattr(args, name)
        for name in (*DETECTION_DEFAULTS, *CROP_DEFAULTS)
        if getattr(args, name) is not None
    }
    foreign = [f"--{name.replace('_', '-')}" for name in given if name not in defaults]
    if foreign:
        mode = "--crops does not take" if args.crops else "only --crops takes"
        raise InputError(f"{mode} {' and '.join(foreign)}; leave out one or the other.")
    return {**defaults, **given}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, render, and return the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if args.crops:
            write_shape_crops(args.output, seed=args.seed, **_chosen(args, CROP_DEFAULTS))
        else:
            write_shapes(args.output, seed=args.seed, **_chosen(args, DETECTION_DEFAULTS))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
