"""Entry point of the command line: ``bpt-det COMMAND ...`` runs `bpt_det.cli.COMMAND`."""

import contextlib
import difflib
import functools
import importlib
import io
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence

from bpt_det import __version__
from bpt_det.utils.errors import EXIT_BAD_INPUT, EXIT_CLOSED_PIPE

from .commands import COMMANDS, PROGRAM, invocation


def format_help() -> str:
    """Return the list of commands, grouped, each with a summary and an example."""
    width = max(map(len, COMMANDS))
    lines = [f"usage: {PROGRAM} COMMAND [ARGUMENTS]", "", "Prompt-tuned detection on Detectron2."]
    group = None
    for command in COMMANDS.values():
        if command.group != group:
            group = command.group
            lines += ["", f"{group}:"]
        lines.append(f"  {command.name:{width}}  {command.summary}")
        if command.example:
            lines.append(f"      {PROGRAM} {command.name} {command.example}")
    lines += ["", f"Arguments of a command: {PROGRAM} COMMAND --help"]
    lines.append("--config-file takes a file, or the name of a config that comes with the package.")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, and return its exit status."""
    with _quiet_once_stdout_is_closed():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["-h"], ["--help"]):
        print(format_help())
        return 0
    if words[:1] == ["--version"]:
        print(f"{PROGRAM} {__version__}")
        return 0
    if not words:
        print(format_help(), file=sys.stderr)
        return EXIT_BAD_INPUT
    name = words[0].replace("_", "-")
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.0)[0]
        print(
            f"error: {PROGRAM} has no command '{words[0]}'; did you mean '{nearest}'? "
            f"{PROGRAM} --help lists all.",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    return run_command(name, words[1:])


def run_command(name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; a missing Detectron2 is one line on stderr.

    Args:
        name: key of `COMMANDS`.
        argv: its arguments; None takes those of the process.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # stdout may lack letters, as stderr never does
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return importlib.import_module(COMMANDS[name].module).main(argv)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "detectron2":
            raise
        print(
            f"error: detectron2 is not installed; run `{invocation('setup-detectron2')}`.",
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT


def command(name: str) -> Callable[[Sequence[str] | None], int]:
    """Return the main function of a command, for a file of ``tools/``."""
    return functools.partial(_run_tool, name)


def _run_tool(name: str, argv: Sequence[str] | None = None) -> int:
    with _quiet_once_stdout_is_closed():
        return run_command(name, argv)


@contextlib.contextmanager
def _quiet_once_stdout_is_closed() -> Iterator[None]:
    """End without a traceback where the reader of stdout has gone, as `head` goes.

    Raises:
        SystemExit: with `EXIT_CLOSED_PIPE`, in place of the error.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():  # a pipe between processes of ours broke
            raise
        # What is left in the buffer is written when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_CLOSED_PIPE) from None


def _stdout_is_closed() -> bool:
    """Return whether stdout is a pipe that nobody reads."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
