"""Install Detectron2, which is not on the package index under its own name.

--source registry (default) takes the source distribution of Detectron2 0.6 from the package
index by its hash, patches it for current PyTorch, NumPy and Pillow, and installs it as
detectron2 0.6+python, whose METADATA lists the patches. It needs no compiler; deformable and
rotated operators are absent and say so when used. --source git builds the official repository
with compiled operators and needs git, a compiler and a few minutes.

A detectron2 that can be imported is left alone, unless --force is given:

    bpt-det setup-detectron2
    bpt-det setup-detectron2 --source git --force
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from bpt_det.installation.detectron2 import InstallError, install

from .commands import build_plain_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_plain_parser("setup-detectron2", __doc__)
    parser.add_argument(
        "--source", choices=("registry", "git"), default="registry", help="default: registry"
    )
    parser.add_argument("--force", action="store_true", help="replace an installed detectron2")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, install Detectron2, and return the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        install(args.source, args.force)
    except (InstallError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; run the same command again.", file=sys.stderr)
        return 130
    return 0
