"""Inputs of commands that take images and videos: which there are, and which have failed."""

import itertools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bpt_det.data.images import folder_records
from bpt_det.utils.errors import InputError
from bpt_det.visualization.captures import is_stream, source_name
from bpt_det.visualization.video import VIDEO_SUFFIXES

_SETTING = re.compile(r"\+?[\w.]+=")

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


def split_settings(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the paths of ``--input``, and the settings that argparse has taken for paths."""
    settings = [path for path in paths if _SETTING.match(path) and not os.path.exists(path)]
    return [path for path in paths if path not in settings], settings


def report_failures(failures: Mapping[str, InputError], num_sources: int) -> int:
    """Name the inputs that could not be read; return the exit status."""
    if failures:
        message = "%d of %d inputs could not be read: %s"
        names = ", ".join(map(source_name, failures))
        logger.warning(message, len(failures), num_sources, names)
    return 1 if failures else 0


def find_sources(inputs: Sequence[str], recursive: bool) -> list[str]:
    """Return the images, videos and streams behind the paths of ``--input``, each once.

    Raises:
        InputError: a path does not exist, or a folder holds no image.
    """
    sources: dict[str, str] = {}
    for path in inputs:
        if os.path.isdir(path):
            records = folder_records(path, recursive=recursive, option="--input")
            files = [record["file_name"] for record in records]
        elif os.path.exists(path) or is_stream(path):
            files = [path]
        else:
            raise InputError(f"--input '{path}' does not exist; give images, folders or videos.")
        for file in files:
            sources.setdefault(os.path.realpath(file), file)
    return list(sources.values())


def is_video(source: str) -> bool:
    """Whether a source is read frame by frame: a stream, or a file by its name."""
    return is_stream(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def each_input(
    sources: Iterable[str],
    read: Callable[[str], Iterable[Item]],
    failures: dict[str, InputError],
    num_sources: int,
) -> Iterator[Item]:
    """Yield what is read of each source; one that fails is logged and skipped.

    Args:
        sources: of `find_sources`.
        read: returns the images or frames of a source.
        failures: gets the error of each source that has failed.
        num_sources: the error of a single one ends the run, and is not logged.
    """
    for source in sources:
        try:
            yield from read(source)
        except InputError as error:
            failures[source] = error
            if num_sources > 1:
                logger.warning("%s", error)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of so many items, the last one perhaps shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def check_any_was_read(num_images: int, failures: Mapping[str, InputError]) -> None:
    """Check that not all inputs failed.

    Raises:
        InputError: all did; it is that of a single one, or else names the first.
    """
    if num_images == 0:
        first = next(iter(failures.values()))
        if len(failures) == 1:
            raise first
        raise InputError(f"none of the {len(failures)} inputs could be read; the first: {first}")
