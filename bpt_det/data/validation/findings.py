"""Findings of a dataset check: counts and examples by kind, each kind of one severity."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bpt_det.utils.errors import printable

# Error: a run refuses the dataset. Warning: the object is left out or clipped, or a value is
# computed or may be wrong. Note: nothing to do.
ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")


class Kind(NamedTuple):
    """A kind of finding: how bad it is, and what it is called in the plural.

    ``is_told`` says whether a run, which does not list findings, warns of it.
    """

    severity: str
    title: str
    is_told: bool = False


@dataclass
class Findings:
    """Counts and examples of everything that a check has found.

    Args:
        table: what the check can find, by kind.
        heading: what was checked, as text for a report.
        facts: the same for scripts.
        max_examples: kept of each kind, while the count goes on; None keeps all.

    Attributes:
        counts: number of findings of each kind that was found.
        examples: of each kind the first ones, as JSON can hold them.
    """

    table: Mapping[str, Kind]
    heading: str
    facts: dict[str, Any]
    max_examples: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[dict | str]] = field(default_factory=dict)

    def add(self, kind: str, where: dict | str, detail: str = "") -> None:
        """Count a finding.

        Args:
            kind: key of the table.
            where: see `place`; or a text.
            detail: what is wrong there, with the value.
        """
        self.counts[kind] = self.counts.get(kind, 0) + 1
        examples = self.examples.setdefault(kind, [])
        if self.max_examples is not None and len(examples) >= self.max_examples:
            return
        if isinstance(where, dict):
            examples.append({**where, "detail": detail})
        else:
            examples.append(f"{where}: {detail}" if detail else where)

    def add_all(self, kind: str, where: Iterable[str]) -> None:
        """Count several findings of one kind."""
        for text in where:
            self.add(kind, text)

    @property
    def severities(self) -> list[str]:
        """The severities that the check knows, the worst first."""
        known = {kind.severity for kind in self.table.values()}
        return [severity for severity in SEVERITIES if severity in known]

    def kinds(self, severity: str) -> list[str]:
        """Return the kinds found of one severity, in the order of the table."""
        return [
            name
            for name, kind in self.table.items()
            if kind.severity == severity and name in self.counts
        ]

    def total(self, severity: str) -> int:
        """Return the number of findings of one severity."""
        return sum(self.counts[kind] for kind in self.kinds(severity))


def place(name: str, index: int, entry: object, image: dict | None = None) -> dict:
    """Return where an entry is, for scripts: position, and as far as known ids and file name.

    Args:
        name: list it is in: images, annotations or categories.
        index: its position there, from 0.
        entry: what is there.
        image: the image of an annotation.
    """
    where: dict = {"entry": f"{name}[{index}]"}
    if isinstance(entry, dict):
        key = {"images": "image_id", "annotations": "annotation_id", "categories": "category_id"}
        where |= {key[name]: _as_json(entry["id"])} if "id" in entry else {}
        fields = {"annotations": ["image_id"], "images": ["file_name"], "categories": ["name"]}
        where |= {field: _as_json(entry[field]) for field in fields[name] if field in entry}
    if image is not None:
        where["file_name"] = _as_json(image["file_name"])
    return where


def _as_json(value: object) -> object:
    """Return a value that names something, or the text of one that cannot, such as NaN."""
    if isinstance(value, str):  # a file name that is not of UTF-8 holds lone surrogates
        return printable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
