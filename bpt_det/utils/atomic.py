"""Atomic file writes, of tables too, and the check that a folder can be written to."""

import contextlib
import csv
import errno
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .errors import InputError

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def atomic_write(path: str | Path, *, is_shared: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it to ``path`` at the end.

    An interruption leaves an earlier file of that name as it was. Folders are made as needed.

    Args:
        path: of the file.
        is_shared: several processes may write the file at once, each to a temporary path of its
            own. Otherwise the temporary path is always the same, so that what a killed process
            left there is replaced.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    own = f".{uuid.uuid4().hex[:8]}" if is_shared else ""
    partial = path.with_name(f".{path.name}{own}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write '{path}' ({error}){ask_for_space(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_rows(path: str | Path, rows: Iterable[Sequence]) -> None:
    """Write a CSV file in UTF-8.

    Raises:
        InputError: it cannot be written.
    """
    # File names that are not UTF-8 reach us with surrogates; they leave as they came.
    with (
        atomic_write(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file).writerows(rows)


@contextlib.contextmanager
def optional_write() -> Iterator[None]:
    """Log that files cannot be written in place of raising it, where a program can do without."""
    try:
        yield
    except InputError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        logger.warning("%s It is left out.", as_sentence(error))


def as_sentence(error: Exception) -> str:
    """Return the text of an error with a mark at its end."""
    text = str(error)
    return text if text.endswith((".", "?")) else f"{text}."


def ask_for_space(error: OSError) -> str:
    """Return the question that ends the text of an error of writing, where space is the cause."""
    return "; is the disk full?" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "."


def make_writable(folder: str | Path, name: str) -> None:
    """Make a folder and check that files can be written into it.

    Args:
        folder: path of the folder; its parents are made too.
        name: of the argument that ``folder`` comes from, for the message.

    Raises:
        InputError: the folder cannot be made or written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        probe = Path(folder) / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to {name} '{folder}': {error.strerror}; choose another folder.",
            parameter=name,
        ) from error
