"""Logs of the command line: what the console shows, and what log.txt holds.

The console shows what the package logs from INFO on, and the warnings of other packages: a summary,
progress and results. log.txt holds everything, from DEBUG on and Detectron2's messages too.
"""

import argparse
import contextlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from detectron2.utils import comm
from tqdm import tqdm

from bpt_det.engine.processes import is_main_process
from bpt_det.utils.compat import FALSE_ALARMS
from bpt_det.utils.errors import InputError, printable
from bpt_det.utils.progress import LOGGER_NAME as PROGRESS

from .arguments import LOG_NAME

RESULT = 25  # level of what a command was run for: above INFO, so that --quiet shows it too
logging.addLevelName(RESULT, "RESULT")

_PACKAGE = "bpt_det"
_HEARD = (_PACKAGE, "detectron2", "fvcore")  # packages whose every message log.txt gets
_WARNINGS = "py.warnings"  # logger of Python's own warnings
_ESCAPE_CODE = re.compile(r"\x1b\[[0-9;]*m")  # Detectron2 and fvcore color parts of messages


@contextlib.contextmanager
def console_log(
    args: argparse.Namespace, *, to_stdout: bool = False, times: bool = False
) -> Iterator[None]:
    """Show the log on the console of the main process while a command runs.

    Commands without the options of `add_log_options` show warnings only.

    Args:
        args: the parsed command line.
        to_stdout: what is no warning goes to stdout; else all goes to stderr.
        times: start each line with the time.
    """
    level = logging.INFO if "quiet" in args else logging.WARNING
    if getattr(args, "quiet", False):
        level = RESULT
    is_verbose = getattr(args, "verbose", False)
    with contextlib.ExitStack() as stack:
        if is_main_process():
            level = logging.DEBUG if is_verbose else level
            handler = _Console(level, _formatter(is_verbose, times), to_stdout=to_stdout)
            stack.enter_context(_root_handler(handler))
        else:
            level = logging.WARNING
        for name in _HEARD:
            _set_level(stack, name, logging.DEBUG)
        _set_level(stack, PROGRESS, level)
        for alarm in FALSE_ALARMS:
            _add_filter(stack, alarm.logger, alarm)
        for name in ("detectron2.engine.train_loop", "detectron2.engine.hooks"):
            _add_filter(stack, name, _NoInputErrors())
        logging.captureWarnings(True)
        stack.callback(logging.captureWarnings, False)
        yield


@contextlib.contextmanager
def kept_records() -> Iterator[list[logging.LogRecord]]:
    """Keep what is logged until the output folder, and with it the log file, is known."""
    buffer = _Buffer()
    with _root_handler(buffer):
        yield buffer.records


@contextlib.contextmanager
def log_file(folder: str | Path, records: Iterable[logging.LogRecord] = ()) -> Iterator[None]:
    """Append all that is logged to log.txt in a folder, earlier records first.

    Processes other than the main one have files of their own: ``log.txt.rank1``.
    """
    rank = comm.get_rank()
    name = f"{LOG_NAME}.rank{rank}" if rank else LOG_NAME
    handler = _LogFile(Path(folder) / name, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_formatter(is_detailed=True))
    handler.addFilter(lambda record: record.name != PROGRESS)
    for record in records:
        handler.handle(record)
    try:
        with _root_handler(handler):
            yield
    finally:
        handler.close()


class _Console(logging.Handler):
    """Handler of the console; a progress bar stays below what it writes."""

    def __init__(self, level: int, formatter: logging.Formatter, *, to_stdout: bool) -> None:
        super().__init__(level)
        self.setFormatter(formatter)
        self.to_stdout = to_stdout

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what is for log.txt alone."""
        if self.level <= logging.DEBUG:
            return record.name != PROGRESS  # Detectron2's own lines say the same
        if record.exc_info:  # the error itself follows
            return False
        return record.levelno >= logging.WARNING or record.name.split(".")[0] == _PACKAGE

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        to_stdout = self.to_stdout and record.levelno < logging.WARNING
        stream = sys.stdout if to_stdout else sys.stderr
        try:
            tqdm.write(printable(self.format(record)), file=stream)
            stream.flush()
        except BrokenPipeError:  # nobody reads stdout any more; log.txt still holds all
            pass
        except Exception:
            self.handleError(record)


class _LogFile(logging.FileHandler):
    """Handler of log.txt; where it cannot be written, that is said once and the run goes on."""

    has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say it on the console alone."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.has_failed:
            self.has_failed = True
            text = f"warning: '{self.baseFilename}' cannot be written ({error.strerror})"
            print(text, file=sys.stderr)

    def close(self) -> None:
        """Close the file, whose last part may be lost."""
        try:
            super().close()
        except OSError:
            self.stream = None


class _Buffer(logging.Handler):
    """Handler that keeps records in a form that another process can be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, with its text in place of the arguments."""
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self.records.append(record)


class _NoInputErrors(logging.Filter):
    """Filter out bad input, which Detectron2 would log with its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], InputError))


class _ConsoleFormatter(logging.Formatter):
    """Formatter of lines that say what they are where they are more than information."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name == _WARNINGS:  # the line of code that warns comes after it
            text = text.splitlines()[0]
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return prefix + _ESCAPE_CODE.sub("", text.lstrip() if prefix else text).rstrip()


class _FileFormatter(logging.Formatter):
    """Formatter of a log without escape codes."""

    def format(self, record: logging.LogRecord) -> str:
        return _ESCAPE_CODE.sub("", super().format(record))


def _formatter(is_detailed: bool, times: bool = False) -> logging.Formatter:
    if is_detailed:
        text = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"
        return _FileFormatter(text, datefmt="%m/%d %H:%M:%S")
    text = "%(asctime)s %(message)s" if times else "%(message)s"
    return _ConsoleFormatter(text, datefmt="%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def _root_handler(handler: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _set_level(stack: contextlib.ExitStack, name: str, level: int) -> None:
    """Set the level of a logger until the end of the stack; so does `_add_filter`."""
    logger = logging.getLogger(name)
    stack.callback(logger.setLevel, logger.level)
    logger.setLevel(level)


def _add_filter(stack: contextlib.ExitStack, name: str, record_filter: Any) -> None:
    logger = logging.getLogger(name)
    logger.addFilter(record_filter)
    stack.callback(logger.removeFilter, record_filter)
