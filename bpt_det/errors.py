"""The one kind of error a tool prints as a line instead of a traceback."""

from collections.abc import Sequence


class InputError(ValueError):
    """Input a user can correct; tools print it as one line."""


def shorten(names: Sequence[str], shown: int = 3) -> str:
    """Return the first names of a list and how many more there are, for an error's text."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def one_line(error: Exception | str) -> str:
    """Return an error's text without its line breaks, to quote it within one line."""
    return " ".join(str(error).split())
