#!/usr/bin/env python
"""Compare methods as a plan says: try settings, train with several seeds, test, report.

Every run is a command of its own, which is logged. What the output folder holds already is not run
again, and a run that was interrupted is resumed:

    python tools/compare.py --plan configs/compare/cub.py --output output/compare/cub --jobs 2

The plan's section of the report, docs/results.md, is replaced.
"""

import argparse
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bpt_det.cli.launch import run_tool
from bpt_det.comparison import load_plan, perform, write_report
from bpt_det.utils.atomic import make_writable
from bpt_det.utils.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", required=True, help="LazyConfig file with a `plan`")
    parser.add_argument("--output", type=Path, help="folder of the runs (output/compare/NAME)")
    parser.add_argument("--report", type=Path, default=Path("docs/results.md"), help="Markdown")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time (default: 1)")
    return parser


def compare(args: argparse.Namespace, command: str) -> None:
    """Do what a parsed command line of `build_parser` asks for; the report has the command."""
    if args.jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {args.jobs}.")
    plan = load_plan(args.plan)
    output = (args.output or Path("output/compare") / plan.name).resolve()
    make_writable(output, "--output")
    make_writable(args.report.parent, "--report")
    outcomes = perform(plan, output, jobs=args.jobs)
    write_report(plan, outcomes, args.report, output, command)
    logging.getLogger("compare").info("results: %s", args.report)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, compare, and return the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    words = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "tools/compare.py", *words])
    return run_tool(lambda: compare(args, command))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its runs must not outlive it
    raise SystemExit(main())
