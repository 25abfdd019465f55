"""Limits of what files may hold, each with the environment variable that sets another one."""

import os
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True)
class Limit:
    """The largest number of something that a file may hold; files come from strangers.

    Args:
        variable: environment variable that sets another limit; it is read when a file is.
        default: the largest number without it.
        unit: what is counted, in the plural.
    """

    variable: str
    default: int
    unit: str

    @property
    def value(self) -> int:
        """The largest number that is allowed now.

        Raises:
            InputError: the variable holds no positive integer.
        """
        text = os.environ.get(self.variable, str(self.default))
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise InputError(f"{self.variable} must be an integer >= 1, got '{text}'.")
        return int(text)

    def check(self, count: int, what: str) -> None:
        """Check that something holds no more than is allowed.

        Args:
            count: what it holds.
            what: its name with an article or a kind, such as ``image 'a.png'``.

        Raises:
            InputError: it holds more; the text names the variable.
        """
        if count > self.value:
            raise InputError(
                f"{what} has {count:,} {self.unit}, more than the {self.value:,} that are "
                f"allowed; where that is meant, set {self.variable}={count}."
            )
