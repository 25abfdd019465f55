"""Demo plumbing: the command line of a demo, and its commands, each in its own process."""

import argparse
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bpt_det.utils.errors import InputError

from .launch import build_tool_parser, run_tool
from .logs import add_log_options

logger = logging.getLogger(__name__)


def run_module(words: Sequence[str], datasets: Path) -> None:
    """Run ``python -m WORDS`` with ``datasets`` as the folder of the datasets.

    Raises:
        InputError: it failed; it has said why.
    """
    shown = f"python -m {shlex.join(words)}"
    logger.info("\n$ %s", shown)
    environment = {**os.environ, "DETECTRON2_DATASETS": str(datasets)}
    status = subprocess.run([sys.executable, "-m", *words], env=environment).returncode
    if status:
        raise InputError(f"`{shown}` ended with status {status}.")


def build_demo_parser(command: str, description: str, folder: str) -> argparse.ArgumentParser:
    """Return the parser of a demo; by default its results go to a new folder output/FOLDER-TIME."""
    parser = build_tool_parser(command, description)
    default = Path(f"output/{folder}-{time.strftime('%Y%m%d-%H%M%S')}")
    parser.add_argument(
        "--output",
        type=Path,
        default=default,
        help="folder for the results (default: a new one below output)",
    )
    add_log_options(parser)
    return parser


def run_demo(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    body: Callable[[Path, Sequence[str]], int | None],
) -> int:
    """Parse the command line, run ``body(output, arguments)``, log its time, return the status."""
    args = parser.parse_args(argv)
    options = [f"--{name}" for name in ("quiet", "verbose") if getattr(args, name)]

    def timed() -> int | None:
        start = time.perf_counter()
        status = body(args.output.resolve(), [*args.opts, *options])
        logger.info("total time: %.0f s", time.perf_counter() - start)
        return status

    return run_tool(timed, args, to_stdout=True)
