"""Compare methods as a plan says: try settings, train with several seeds, test, report.

Every run is a command of its own, which is logged. What the output folder holds already is not run
again, and a run that was interrupted is resumed:

    bpt-det compare --plan configs/compare/cub.py --output output/compare/cub --jobs 2

The plan's section of the report, docs/results.md, is replaced.
"""

import argparse
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bpt_det.comparison import load_plan, perform, write_report
from bpt_det.utils.atomic import make_writable

from .commands import invocation
from .launch import build_tool_parser, check_range, run_tool

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("compare", __doc__, takes_settings=False)
    parser.add_argument("--plan", required=True, help="LazyConfig file with a `plan`")
    parser.add_argument("--output", type=Path, help="folder of the runs (output/compare/NAME)")
    parser.add_argument("--report", type=Path, default=Path("docs/results.md"), help="Markdown")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time (default: 1)")
    return parser


def compare(args: argparse.Namespace, command: str) -> None:
    """Do what a parsed command line of `build_parser` asks for; the report has the command."""
    check_range(args, "--jobs")
    plan = load_plan(args.plan)
    output = (args.output or Path("output/compare") / plan.name).resolve()
    make_writable(output, "--output")
    make_writable(args.report.parent, "--report")
    outcomes = perform(plan, output, jobs=args.jobs)
    write_report(plan, outcomes, args.report, output, command)
    logger.info("results: %s", args.report)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, compare, and return the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    words = sys.argv[1:] if argv is None else argv
    command = f"{invocation('compare')} {shlex.join(words)}"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its runs must not outlive it
    return run_tool(lambda: compare(args, command), args)
