"""Reports of a dataset check: text for a terminal and a dict for scripts."""

import textwrap
from collections.abc import Iterator

from .findings import ERROR, Findings

_NUM_SHOWN = 3  # of a kind that is no error


def format_report(findings: Findings, num_examples: int | None = None, width: int = 100) -> str:
    """Return a report in lines, the worst findings first.

    Args:
        findings: of a check.
        num_examples: shown of each kind; None shows all errors, and 3 of each other kind.
        width: at which the lines of examples are broken at words, if they have keys.
    """
    lines = [findings.heading]
    for severity in findings.severities:
        for kind in findings.kinds(severity):
            count, title = findings.counts[kind], findings.table[kind].title
            lines += ["", f"{severity}: {count} × {title} [{kind}]"]
            shown = num_examples
            if shown is None:
                shown = count if severity == ERROR else _NUM_SHOWN
            lines += _example_lines(findings, kind, shown, width)
    return "\n".join([*lines, "", _summary(findings)])


def _example_lines(findings: Findings, kind: str, num_examples: int, width: int) -> Iterator[str]:
    shown = findings.examples[kind][:num_examples]
    for example in shown:
        if isinstance(example, str):
            yield f"    {example}"
            continue
        detail = f": {example['detail']}" if example["detail"] else ""
        yield from textwrap.wrap(
            describe_place(example) + detail,
            width,
            initial_indent="    ",
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    more = findings.counts[kind] - len(shown)
    if more > 0:
        yield f"    and {more} more"


def describe_place(example: dict) -> str:
    """Return where a finding is: ``annotation 5 of image 3, a.jpg``."""
    parts = []
    if "annotation_id" in example:
        parts.append(f"annotation {example['annotation_id']!r}")
        if "image_id" in example:
            parts[0] += f" of image {example['image_id']!r}"
    elif "image_id" in example and example["entry"].startswith("images"):
        parts.append(f"image {example['image_id']!r}")
    elif "category_id" in example:
        parts.append(f"category {example['category_id']!r}")
    else:
        parts.append(example["entry"])
    parts += [str(example[key]) for key in ("file_name", "name") if key in example]
    return ", ".join(parts)


def _summary(findings: Findings) -> str:
    if not findings.counts:
        return "nothing wrong"
    totals = [(findings.total(severity), severity) for severity in findings.severities]
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in totals)


def report_as_dict(findings: Findings) -> dict:
    """Return what was found as JSON can hold it."""
    return {
        **findings.facts,
        **{f"{severity}s": findings.total(severity) for severity in findings.severities},
        "kinds": [
            {
                "kind": kind,
                "severity": severity,
                "title": findings.table[kind].title,
                "count": findings.counts[kind],
                "findings": findings.examples[kind],
            }
            for severity in findings.severities
            for kind in findings.kinds(severity)
        ],
    }
