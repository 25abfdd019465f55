"""Time estimate of a comparison: from the runs that have ended."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from .experiment import Method
from .results import Result


def estimate_seconds(remaining: Iterable[tuple[Method, bool]], results: Sequence[Result]) -> float:
    """Return how long runs will take one after another.

    Each as long as the mean of those that are most like it: of its method and kind, else of its
    kind, else of all.

    Args:
        remaining: of each run its method, and whether it is a final one.
        results: of runs that have ended, at least one.
    """
    return sum(fmean(_most_like(*run, results)) for run in remaining)


def _most_like(method: Method, is_final: bool, results: Sequence[Result]) -> list[float]:
    same_kind = [r for r in results if r.run.is_final == is_final]
    same_method = [r for r in same_kind if r.run.method == method]
    return [r.total_seconds for r in same_method or same_kind or results]


def format_hours(seconds: float) -> str:
    """Return a duration as ``3 h 20 min``, or below an hour as ``20 min``."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
