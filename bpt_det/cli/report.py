"""Write report.html into the folder of a run, or of an evaluation; a run writes its own at its end.

One file that a browser shows without the network: metrics, curves, tables by class, pictures,
command, versions and config. It shows what the folder holds, so it can be made while a run is going
on, and again later.

    bpt-det report output/mine
"""

import argparse
import logging
from collections.abc import Sequence

from bpt_det.engine.report import write_report

from .launch import build_tool_parser, run_tool
from .logs import RESULT, add_log_options

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("report", __doc__, takes_settings=False)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of a run: train.output_dir")
    add_log_options(parser)
    return parser


def report(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    for folder in args.folders:
        logger.log(RESULT, "report: %s", write_report(folder))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, write the reports, and return the exit status."""
    args = build_parser().parse_args(argv)
    return run_tool(lambda: report(args), args)
