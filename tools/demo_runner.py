"""What the demos share: a command line, and the commands of a main job, each in its own process."""

import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bpt_det.cli.launch import build_tool_parser, run_tool
from bpt_det.utils.errors import InputError

logger = logging.getLogger("demo")

ROOT = Path(__file__).resolve().parent.parent


def run(command: Sequence[str], datasets: Path) -> None:
    """Run one command of the main job in its own process, as a user would.

    Raises:
        InputError: it failed; it has said why.
    """
    logger.info("\n$ python %s", shlex.join(command))
    environment = {**os.environ, "DETECTRON2_DATASETS": str(datasets)}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment)
    if done.returncode:
        raise InputError(f"`python {shlex.join(command)}` ended with status {done.returncode}.")


def run_demo_tool(
    description: str,
    argv: Sequence[str] | None,
    name: str,
    demo: Callable[[Path, Sequence[str]], None],
) -> int:
    """Parse the command line, run ``demo(output, overrides)``, tell its time, return the status.

    Args:
        description: of the tool, ending with an example command.
        argv: its command line; None: that of the process.
        name: what the default output folder begins with.
        demo: the tool's body.
    """
    parser = build_tool_parser(description)
    default = ROOT / f"output/{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    parser.add_argument("--output", type=Path, default=default, help="a new folder")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

    def timed() -> None:
        start = time.perf_counter()
        demo(args.output.resolve(), args.opts)
        logger.info("total time: %.0f s", time.perf_counter() - start)

    return run_tool(timed)
