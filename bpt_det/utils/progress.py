"""Progress of long work: a bar on a terminal, lines of the log elsewhere.

Who sets up logging decides: bars and lines are shown where this module's logger lets INFO through.
The lines are for the console; log.txt leaves them out, as it has Detectron2's own.
"""

import logging
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tqdm import tqdm

LOGGER_NAME = __name__
_LINE_PERIOD = 30.0  # seconds from one line to the next

logger = logging.getLogger(LOGGER_NAME)


def shows_bar() -> bool:
    """Return whether progress is a bar: on a terminal, unless the log is quiet."""
    is_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    return is_terminal and logger.isEnabledFor(logging.INFO)


def progress_bar(**options: Any) -> tqdm:
    """Return tqdm's bar with these options; it is disabled where no bar is to be shown."""
    columns, rows = shutil.get_terminal_size()  # (80, 24) where the terminal does not say
    return tqdm(disable=not shows_bar(), ncols=columns, nrows=rows, **options)


def format_seconds(seconds: float) -> str:
    """Return a time as hours, minutes and seconds: ``1:02:03``."""
    return str(timedelta(seconds=round(seconds)))


class Tracked:
    """Batches whose progress is shown while they are iterated.

    Args:
        batches: of a known number.
        name: of the work, such as ``evaluating``.
    """

    def __init__(self, batches: Any, name: str) -> None:
        self.batches = batches
        self.name = name

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        total, start = len(self), time.perf_counter()
        last = start
        with progress_bar(total=total, desc=self.name, unit="batch", leave=False) as bar:
            for count, batch in enumerate(self.batches, 1):
                yield batch
                bar.update()
                now = time.perf_counter()
                if bar.disable and now - last >= _LINE_PERIOD and count < total:
                    last = now
                    left = format_seconds((now - start) / count * (total - count))
                    logger.info("%s: %d of %d batches, %s left", self.name, count, total, left)
