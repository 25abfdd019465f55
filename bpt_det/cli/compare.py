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
import logging
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bpt_det.comparison import Result, load_experiment, run_experiment, write_report
from bpt_det.engine.stopping import StopRequests
from bpt_det.utils.atomic import make_writable
from bpt_det.utils.errors import InputError

from .commands import invocation
from .launch import build_tool_parser, check_range, run_tool
from .logs import RESULT, add_log_options

logger = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "bpt_det.cli")  # that runs a command


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


def select_methods(names: Sequence[str], only: Sequence[str] | None, part: str | None) -> list[str]:
    """Return the methods that ``--only`` and ``--part`` select, in the order of the plan.

    Raises:
        InputError: a method is unknown, or the part is malformed.
    """
    for name in only or ():
        if name not in names:
            raise InputError(f"--only {name}: the plan has no such method, but {', '.join(names)}.")
    selected = [name for name in names if not only or name in only]
    if part is None:
        return selected
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise InputError(f"--part must be I/N with 1 <= I <= N, as 1/3, got '{part}'.")
    return selected[number - 1 :: count]


def compare(args: argparse.Namespace, command: str) -> None:
    """Do what a parsed command line of `build_parser` asks for; the report has the command."""
    check_range(args, "--jobs")
    experiment = load_experiment(args.plan).with_overrides(args.opts)
    output = (args.output or Path("output/compare") / experiment.name).resolve()
    make_writable(output, "--output")
    report_file = args.report or output / "report.md"
    make_writable(report_file.parent, "--report")
    names = [method.name for method in experiment.methods]

    def report(results: list[Result]) -> None:
        write_report(experiment, results, report_file, output, command)

    report(
        run_experiment(
            experiment,
            output,
            PROGRAM,
            jobs=args.jobs,
            only=select_methods(names, args.only, args.part),
            report=report,
        )
    )
    logger.log(RESULT, "results: %s", report_file)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, compare, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    words = sys.argv[1:] if argv is None else argv
    command = f"{invocation('compare')} {shlex.join(words)}"

    def body() -> None:
        with StopRequests():  # no run must outlive it
            compare(args, command)

    return run_tool(body, args, to_stdout=True, times=True)
