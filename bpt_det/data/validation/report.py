"""What was found, as text for a terminal and as a dict for scripts."""

import textwrap
from collections.abc import Iterator

from .findings import KINDS, SEVERITIES, Findings


def format_report(findings: Findings, num_examples: int = 3, width: int = 100) -> str:
    """Return a report in lines of at most ``width`` characters where words allow it.

    Args:
        findings: what was found.
        num_examples: shown of each kind.
        width: of a line.
    """
    lines = [", ".join(f"{count} {name}" for name, count in findings.totals.items())]
    for severity in SEVERITIES:
        for kind in findings.kinds(severity):
            lines += ["", f"{severity}: {findings.counts[kind]} × {KINDS[kind][1]} [{kind}]"]
            lines += _example_lines(findings, kind, num_examples, width)
    return "\n".join([*lines, "", _summary(findings)])


def _example_lines(findings: Findings, kind: str, num_examples: int, width: int) -> Iterator[str]:
    shown = findings.examples[kind][:num_examples]
    for example in shown:
        detail = f": {example['detail']}" if example["detail"] else ""
        yield from textwrap.wrap(
            describe(example) + detail,
            width,
            initial_indent="    ",
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    more = findings.counts[kind] - len(shown)
    if more > 0:
        yield f"    and {more} more"


def describe(example: dict) -> str:
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
    counts = {severity: findings.total(severity) for severity in SEVERITIES}
    if not any(counts.values()):
        return "nothing wrong"
    named = [f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in counts.items()]
    return ", ".join(named)


def report_as_dict(findings: Findings) -> dict:
    """Return what was found as JSON can hold it; of each kind up to 10,000 findings are listed."""
    return {
        "totals": findings.totals,
        "errors": findings.total("error"),
        "warnings": findings.total("warning"),
        "notes": findings.total("note"),
        "kinds": [
            {
                "kind": kind,
                "severity": KINDS[kind][0],
                "title": KINDS[kind][1],
                "count": findings.counts[kind],
                "findings": findings.examples[kind],
            }
            for severity in SEVERITIES
            for kind in findings.kinds(severity)
        ],
    }
