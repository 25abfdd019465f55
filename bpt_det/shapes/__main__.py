"""Render the embedded data set: a COCO-format detection data set of textured shapes.

Example:
    python -m bpt_det.shapes --output datasets/shapes --num-train 1500 --num-val 150
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from bpt_det.errors import InputError

from .dataset import write_shapes


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bpt_det.shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--num-train", type=int, default=1500, metavar="N", help="default: 1500")
    parser.add_argument("--num-val", type=int, default=150, metavar="N", help="default: 150")
    parser.add_argument(
        "--image-size", type=int, default=128, metavar="PX", help="longest side, default: 128"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        write_shapes(args.output, args.num_train, args.num_val, args.image_size, args.seed)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
