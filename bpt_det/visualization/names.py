"""Names of classes as a reader wants them: without numbers and underscores, broken into lines."""

import bisect
import re
from collections import Counter
from collections.abc import Callable, Sequence

# The number of CUB's "001.Black_footed_Albatross" and Stanford Dogs' "n02085620-Chihuahua".
_NUMBER = re.compile(r"^(?:\d+\.|n\d{8}[-_])(?=[^\W\d_])")


def display_names(class_names: Sequence[str]) -> list[str]:
    """Return names to show; where two would be equal, both keep their number."""
    shown = [_clean(_NUMBER.sub("", name)) for name in class_names]
    occurrences = Counter(shown)
    return [
        short if short and occurrences[short] == 1 else _clean(name) or "(no name)"
        for short, name in zip(shown, class_names, strict=True)
    ]


def _clean(name: str) -> str:
    printable = name.encode("utf-8", "replace").decode()  # a name may hold surrogates
    return " ".join(printable.replace("_", " ").split())


def wrap(
    text: str, max_width: float, measure: Callable[[str], float], max_lines: int = 3
) -> list[str]:
    """Break a text into lines; one that is too long ends in an ellipsis.

    Args:
        text: words separated by spaces; a word longer than a line is broken anywhere.
        max_width: of a line.
        measure: width of a string, in the same unit.
        max_lines: at least 1.
    """
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and measure(joined) <= max_width:
            lines[-1] = joined
            continue
        while measure(word) > max_width and len(word) > 1:
            end = max(1, _num_fitting(word, max_width, measure))
            lines.append(word[:end])
            word = word[end:]
        lines.append(word)
    if len(lines) <= max_lines:
        return lines
    last = " ".join(lines[max_lines - 1 :])
    end = _num_fitting(last, max_width, lambda text: measure(f"{text}…"))
    return [*lines[: max_lines - 1], f"{last[:end].rstrip()}…"]


def _num_fitting(text: str, max_width: float, measure: Callable[[str], float]) -> int:
    """Return how many of a text's characters fit into a line."""
    ends = range(1, len(text) + 1)
    return bisect.bisect_right(ends, max_width, key=lambda end: measure(text[:end]))
