#!/usr/bin/env python
"""Write what a trained model needs of a run's checkpoint: a small file to share.

Example: python tools/publish_checkpoint.py --compact output/mine/model_final.pth mine.pth
"""

import argparse
import sys
from collections.abc import Sequence

from bpt_det.engine.publishing import publish_checkpoint
from bpt_det.utils.errors import EXIT_BAD_INPUT, InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, write the file, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="model_*.pth of a run")
    parser.add_argument("target", help="file to make")
    parser.add_argument("--compact", action="store_true", help="float16, large matrices 8-bit")
    args = parser.parse_args(argv)
    try:
        publish_checkpoint(args.source, args.target, compact=args.compact)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_BAD_INPUT
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
