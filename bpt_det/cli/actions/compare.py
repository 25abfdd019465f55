"""Comparisons of methods: what `bpt-det compare` does."""

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

from ..commands import invocation
from ..launch import check_range, run_tool
from ..logs import RESULT

logger = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "bpt_det.cli")  # that runs a command


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


def run(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Compare, and return the exit status."""
    command = f"{invocation('compare')} {shlex.join(words)}"

    def body() -> None:
        with StopRequests():  # no run must outlive it
            compare(args, command)

    return run_tool(body, args, to_stdout=True, times=True)
