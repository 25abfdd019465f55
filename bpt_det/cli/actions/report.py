"""Pages of runs: what `bpt-det report` does."""

import argparse
import logging

from bpt_det.engine.report import write_report

from ..launch import run_tool
from ..logs import RESULT

logger = logging.getLogger(__name__)


def report(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    for folder in args.folders:
        logger.log(RESULT, "report: %s", write_report(folder))


def run(args: argparse.Namespace) -> int:
    """Write the reports, and return the exit status."""
    return run_tool(lambda: report(args), args)
