"""Run classification at small size: render crops, train and test with and without prompts.

Example: bpt-det demo-cls
"""

import argparse
from collections.abc import Sequence

from .arguments import build_demo_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return build_demo_parser("demo-cls", __doc__, "demo-cls")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the demo, and return the exit status."""
    args = build_parser().parse_args(argv)
    from .actions.demo_cls import run

    return run(args)
