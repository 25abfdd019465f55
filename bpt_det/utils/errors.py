"""Input errors, one line with value, allowed range and next step; exit statuses of commands."""

import math
import re
from collections.abc import Collection, Sequence

EXIT_BAD_INPUT = 2
EXIT_CLOSED_PIPE = 141  # as shells count the signal of a pipe that nobody reads

# By the status of a run; a refused input has `EXIT_BAD_INPUT` instead of that of "failed".
EXIT_STATUS = {
    "running": 1,  # of a run that was killed; no command ends with it
    "finished": 0,
    "stopped_early": 0,
    "preempted": 75,
    "time_limit": 75,
    "interrupted": 130,  # as shells count the signal of Ctrl-C
    "diverged": 3,
    "failed": 1,
}


def status_of_exit(exit_status: int) -> str:
    """Return the status of a run of which only the exit status is known: "failed" for any other."""
    names = {EXIT_STATUS[name]: name for name in ("preempted", "interrupted", "diverged")}
    return names.get(exit_status, "failed")


class InputError(ValueError):
    """Wrong input that a user can correct; the command line prints it as one line.

    The message says what is wrong in the terms of whoever raises it, and names no command, flag or
    key of its callers. The command line adds those: ``bpt_det.cli`` looks up the key of
    ``parameter`` in the loaded config, and turns ``hint`` into a command.

    Args:
        message: what is wrong: name, value, allowed range, and what to change.
        parameter: name of the argument at fault, such as ``checkpoint``; None: no argument is.
        hint: kind of the next step, a key of `bpt_det.cli.hints`; None: the message says it.
    """

    def __init__(
        self, message: str, *, parameter: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.hint = hint

    def __reduce__(self) -> tuple:
        """Keep all attributes on the way between processes."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type, args: tuple, attributes: dict) -> InputError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


def check_count(
    name: str,
    value: object,
    least: int = 1,
    parameter: str | None = None,
    *,
    alternative: str = "",
) -> None:
    """Check that a setting, which may be anything that YAML can hold, is an integer.

    Args:
        name: of the setting.
        value: what it is; True and False are no integers.
        least: the smallest value allowed.
        parameter: see `InputError`.
        alternative: what is allowed beside integers, for the text, such as ``null (off)``.

    Raises:
        InputError: it is not, or is below ``least``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        allowed = f"an integer >= {least}" + (f", or {alternative}" if alternative else "")
        raise InputError(f"{name} must be {allowed}, got {value!r}.", parameter=parameter)


def check_positive(
    name: str, value: object, unit: str, *, most: float = math.inf, alternative: str = ""
) -> None:
    """Check that a setting, which may be anything that YAML can hold, is a number above 0.

    Args:
        name: of the setting.
        value: what it is; True and False are no numbers.
        unit: what the number counts, for the text.
        most: the largest value allowed.
        alternative: what is allowed beside numbers, for the text, such as ``null (off)``.

    Raises:
        InputError: it is not, or is above ``most``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        allowed = f"a positive number of {unit}" + (f" <= {most:g}" if most < math.inf else "")
        allowed += f", or {alternative}" if alternative else ""
        raise InputError(f"{name} must be {allowed}, got {value!r}.")


def check_probability(name: str, value: object) -> None:
    """Check that the argument ``name``, which may be anything, is a number in [0, 1).

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InputError(f"{name} must be in [0, 1), got {value}.", parameter=name)


def check_finite(name: str, value: object) -> None:
    """Check that the argument ``name``, which may be anything, is a finite number.

    Raises:
        InputError: it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):  # type: ignore[arg-type]
        raise InputError(f"{name} must be a finite number, got {value!r}.", parameter=name)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Check that the argument ``name`` is one of its choices.

    Raises:
        InputError: it is not; they are named.
    """
    if value not in choices:
        raise InputError(
            f"{name} must be one of {', '.join(choices)}, got '{value}'.", parameter=name
        )


def shorten(names: Sequence[str], shown: int = 3) -> str:
    """Return the first names of a list and how many more there are, for an error's text."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    r"""Return a text that every encoding of Unicode can hold.

    Bytes of a file's name that are no UTF-8, which Python gives as surrogates, become ``\\xff``.
    """
    text = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    return text.encode("utf-8", "backslashreplace").decode()


def one_line(error: Exception | str) -> str:
    """Return the text of an error on one line without objects of Python, to quote it in another."""
    return " ".join(re.sub(r"<_io\.[^>]*>", "", printable(str(error))).split())
