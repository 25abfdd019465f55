"""Compare methods as an experiment plan says: grid search, training with several seeds, report.

Every run is a command of its own, which is logged. A run that the output folder already holds is
not repeated, and one that was interrupted is resumed:

    bpt-det compare --plan compare/cub --output output/compare/cub --jobs 2

A long plan can be cut into parts of its methods, by name or by number, on several machines that
share the output folder or one after another:

    bpt-det compare --plan compare/cub --only bpt_s --only vpt_s
    bpt-det compare --plan compare/cub --part 1/3

Settings of every run, such as paths of this machine, replace those of the plan:

    bpt-det compare --plan compare/cars data=folder:/data/cars \\
        model.backbone.vit.checkpoint=/weights/vit_tiny.pth

Each line of the log says how long the remaining runs of the part will take. The plan's section of
the report, report.md in the output folder, is replaced whenever a method has ended. result.json
there holds the status of the comparison and the results of its runs.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .arguments import add_log_options, build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("compare", __doc__)
    add = parser.add_argument
    add("--plan", required=True, help="LazyConfig file with a `plan`, or the name of one")
    add("--output", type=Path, help="folder of the runs (default: output/compare/NAME)")
    add(
        "--report",
        type=Path,
        help="Markdown file for the tables (default: report.md in the output folder)",
    )
    add = parser.add_argument_group("runs").add_argument
    add("--jobs", type=int, default=1, help="runs at the same time (default: 1)")
    add("--only", action="append", metavar="METHOD", help="run this method alone; may be repeated")
    add("--part", metavar="I/N", help="run the I-th of N parts of the methods")
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, compare, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.compare import run

    return run(args, sys.argv[1:] if argv is None else argv)
