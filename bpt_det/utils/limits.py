"""Limits: how large an input may be, each a setting of the environment."""

import os
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True)
class Limit:
    """The largest value that an input may have.

    Args:
        variable: environment variable that sets another one.
        default: without it.
        unit: of the value, for the error.
    """

    variable: str
    default: int
    unit: str

    @property
    def value(self) -> int:
        """The limit that holds now.

        Raises:
            InputError: the variable is no positive integer.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise InputError(f"{self.variable} must be an integer >= 1, got '{text}'.")
        return int(text)


CONFIG_BYTES = Limit("BPT_DET_MAX_CONFIG_BYTES", 1_000_000, "bytes")
CONFIG_NODES = Limit("BPT_DET_MAX_CONFIG_NODES", 200_000, "values")


def check_limit(limit: Limit, value: int, what: str) -> None:
    """Check that an input is not larger than a limit.

    Raises:
        InputError: it is.
    """
    if value > limit.value:
        raise InputError(
            f"{what} has {value:,} {limit.unit}, more than the {limit.value:,} that are allowed; "
            f"where that is meant, set {limit.variable}={value}."
        )
