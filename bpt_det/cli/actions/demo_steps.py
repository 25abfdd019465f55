"""Demo plumbing: the commands of a demo, each in its own process."""

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

from ..launch import run_tool

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


def run_demo(args: argparse.Namespace, body: Callable[[Path, Sequence[str]], int | None]) -> int:
    """Run ``body(output, arguments)``, log its time, and return the exit status."""
    options = [f"--{name}" for name in ("quiet", "verbose") if getattr(args, name)]

    def timed() -> int | None:
        start = time.perf_counter()
        status = body(args.output.resolve(), [*args.opts, *options])
        logger.info("total time: %.0f s", time.perf_counter() - start)
        return status

    return run_tool(timed, args, to_stdout=True)
