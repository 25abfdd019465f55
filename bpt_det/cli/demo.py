"""Run the main job at small size: render a dataset, train, evaluate, draw masks.

Example: bpt-det demo
"""

import argparse
from collections.abc import Sequence

from .arguments import build_demo_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return build_demo_parser("demo", __doc__, "demo")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the demo, and return the exit status."""
    args = build_parser().parse_args(argv)
    from .actions.demo import run

    return run(args)
