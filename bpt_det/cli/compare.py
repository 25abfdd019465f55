"""Compare methods as an experiment plan says: grid search, training with several seeds, report.

Every run is a command of its own, which is logged. A run that the output folder already holds is
not repeated, and one that was interrupted is resumed:

    bpt-det compare --plan configs/compare/cub.py --output output/compare/cub --jobs 2

The plan's section of the report, docs/results.md, is replaced. result.json in the output folder
holds the status of the comparison and the results of its runs.
"""

import argparse
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bpt_det.comparison import load_experiment, run_experiment, write_report
from bpt_det.utils.atomic import make_writable

from .commands import invocation
from .launch import build_tool_parser, check_range, run_tool

logger = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "bpt_det.cli")  # that runs a command


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
    experiment = load_experiment(args.plan)
    output = (args.output or Path("output/compare") / experiment.name).resolve()
    make_writable(output, "--output")
    make_writable(args.report.parent, "--report")
    results = run_experiment(experiment, output, PROGRAM, jobs=args.jobs)
    write_report(experiment, results, args.report, output, command)
    logger.info("results: %s", args.report)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, compare, and return the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    words = sys.argv[1:] if argv is None else argv
    command = f"{invocation('compare')} {shlex.join(words)}"
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # no run must outlive it
    try:
        return run_tool(lambda: compare(args, command), args)
    finally:
        signal.signal(signal.SIGTERM, handler)
