"""Extras: packages that only some functions need, and what to install where one is missing."""

import importlib.util

from .errors import InputError


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Check that a package is installed.

    Args:
        package: its module.
        extra: of bpt_det that installs it.
        purpose: what needs it, for the text.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{purpose} need the package '{package}', which is not installed; run "
            f"pip install 'bpt_det[{extra}]', or in a checkout "
            f"pip install -r requirements-{extra}.txt."
        )
