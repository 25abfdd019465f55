"""Write report.html into the folder of a run, or of an evaluation; a run writes its own at its end.

One file that a browser shows without the network: metrics, curves, tables by class, pictures,
command, versions and config. It shows what the folder holds, so it can be made while a run is going
on, and again later.

    bpt-det report output/mine
"""

import argparse
from collections.abc import Sequence

from .arguments import add_log_options, build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("report", __doc__, takes_settings=False)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of a run: train.output_dir")
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, write the reports, and return the exit status."""
    args = build_parser().parse_args(argv)
    from .actions.report import run

    return run(args)
