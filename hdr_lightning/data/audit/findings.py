"""What an audit finds: one finding says what is wrong, with which pairs, by how much, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from hdr_lightning.data.manifest import PairPaths

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""From the worst."""

TITLES = {
    "missing": "Files that are not there",
    "unreadable": "Photos that cannot be read",
    "truncated": "Photos that end too early",
    "size": "Source and target differ in size",
    "too-small": "Photos smaller than the training crop",
    "equal": "Target equal to its source",
    "swapped": "Source and target look swapped",
    "misaligned": "Source and target are shifted, scaled or turned",
    "unrelated": "Source and target show different things",
    "profile": "Colour profiles differ inside a pair",
    "depth": "Bit depths or kinds of colour differ inside a pair",
    "orientation": "Orientation tags differ inside a pair",
    "blank": "Photos of one colour",
    "clipped": "Photos that are mostly clipped",
    "group-leak": "Groups on two sides of the split",
    "duplicate": "The same photo in several pairs",
    "shared-target": "One target for several groups",
    "near-duplicate": "Nearly the same photo in several groups",
    "same-scene": "Other views of the same place in several groups",
}
"""Kinds of findings, in the order of a report."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a data set.

    Attributes:
        kind: a key of `TITLES`.
        severity: an error spoils training or its test, a warning probably does, a note is good to know.
        pairs: the pairs it is about.
        text: what is wrong, with names and figures.
        remedy: what to do about it.
        figures: measured values by name, with the unit in the name.
        leave_out: those of the pairs without which the finding is gone.
    """

    kind: str
    severity: Severity
    pairs: tuple[PairPaths, ...]
    text: str
    remedy: str
    figures: dict[str, float] = field(default_factory=dict)
    leave_out: tuple[PairPaths, ...] = ()

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}"


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Sort by severity, then by kind; what came first stays first."""
    kinds = list(TITLES)
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), kinds.index(one.kind)))


def listed(pairs: Sequence[PairPaths], shown: int = 4) -> str:
    """Names of pairs, cut where they are many."""
    more = f" and {len(pairs) - shown} more" if len(pairs) > shown else ""
    return ", ".join(pair.name for pair in pairs[:shown]) + more
