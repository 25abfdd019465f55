#!/usr/bin/env python
"""Write what a trained model needs of a run's checkpoint: a small file to share.

Example: python tools/publish_checkpoint.py --compact output/mine/model_final.pth mine.pth
"""

import argparse
from collections.abc import Sequence

from bpt_det.cli.launch import run_tool
from bpt_det.engine.publishing import publish_checkpoint


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, write the file, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="model_*.pth of a run")
    parser.add_argument("target", help="file to make")
    parser.add_argument("--compact", action="store_true", help="float16, large matrices 8-bit")
    args = parser.parse_args(argv)
    return run_tool(
        lambda: publish_checkpoint(args.source, args.target, compact=args.compact), args
    )


if __name__ == "__main__":
    raise SystemExit(main())
