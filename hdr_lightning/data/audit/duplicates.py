"""Photos that serve more than one pair: equal ones, nearly equal ones, and other views of one place.

Pairs of one group may share anything: the split keeps them together. What pairs of different groups share is a leak if
they are on two sides of the split, and will be one under another seed if they are not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hdr_lightning.data.audit.candidates import NEIGHBOURS, Vocabulary, nearest, vectors
from hdr_lightning.data.audit.examination import Examined, in_parallel
from hdr_lightning.data.audit.findings import Finding, Severity, listed
from hdr_lightning.data.audit.pairs import FLAT
from hdr_lightning.data.audit.resemblance import Resemblance, resemblance
from hdr_lightning.data.audit.store import LookStore
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.progress import track

SAMPLE = 400
"""Photos from which the visual words are learned."""

RANKS = {"validation": 1, "test": 2}
"""Of two parts that share something, the pair of the lower is left out; training and each of several folds are 0."""

REMEDY = 'give them a common "group"'

SAID = {
    "duplicate": "hold the same photo",
    "shared-target": "have one target for different sources",
    "near-duplicate": "show nearly the same photo (up to a crop, scale, mirror image, brightness or compression)",
    "same-scene": "show views of one place",
}


def _order(part: str) -> tuple[int, int, str]:
    return RANKS.get(part, 0), len(part), part  # fold 9 before fold 10


@dataclass(frozen=True)
class Link:
    """Two pairs of different groups that share something."""

    first: Examined
    second: Examined
    likeness: Resemblance | None = None

    @property
    def parts(self) -> set[str]:
        """The sides of the split that it ties together."""
        return {self.first.part, self.second.part}

    @property
    def earlier(self) -> Examined:
        """The one to be left out, where the two are in different parts."""
        return min(self.first, self.second, key=lambda one: _order(one.part))


def equal_photos(pairs: Sequence[Examined]) -> list[Finding]:
    """Find photos whose pixels are equal, in pairs of different groups."""
    owners: dict[str, list[tuple[Examined, bool]]] = {}
    for one in pairs:
        for facts, is_target in ((one.source, False), (one.target, True)):
            if facts is not None and facts.spread > FLAT:
                owners.setdefault(facts.digest, []).append((one, is_target))
    links: dict[str, list[Link]] = {"duplicate": [], "shared-target": []}
    for sharing in owners.values():
        kind = "shared-target" if all(is_target for _, is_target in sharing) else "duplicate"
        links[kind] += _linked([one for one, _ in sharing])
    whole = {frozenset((id(link.first), id(link.second))) for link in links["duplicate"]}
    links["shared-target"] = [
        link for link in links["shared-target"] if frozenset((id(link.first), id(link.second))) not in whole
    ]
    return [finding for kind, found in links.items() for finding in _findings(kind, found)]


def _linked(sharing: Sequence[Examined]) -> list[Link]:
    """Links between pairs of different groups, enough of them to tie each pair to one of every other part."""
    first: dict[str, Examined] = {}
    links = []
    for one in sharing:
        links += [Link(other, one) for other in first.values() if other.pair.group != one.pair.group]
        first.setdefault(one.part, one)
    return links


def similar_photos(pairs: Sequence[Examined], store: LookStore) -> list[Finding]:
    """Find targets that are nearly the same or show the same place, in pairs of different groups.

    Args:
        pairs: pairs that can be read.
        store: the look of the target of each.
    """
    rows, owners = _unlike(pairs)
    candidates = _candidates(rows, owners, store)
    links: dict[str, list[Link]] = {"near-duplicate": [], "same-scene": []}
    looks = ((store[rows[i]], store[rows[j]], mirror) for i, j, mirror in candidates)
    results = in_parallel(lambda two: resemblance(*two), looks)
    tracked = track(results, "comparing photos", len(candidates), "candidate")
    for (i, j, _), found in zip(candidates, tracked, strict=True):
        if found is not None:
            # Some of them stand for several pairs with that target, perhaps on several sides.
            links[found.kind] += [
                Link(one, other, found)
                for one in owners[i]
                for other in owners[j]
                if one.pair.group != other.pair.group
            ]
    return [finding for kind, found in links.items() for finding in _findings(kind, found)]


def _unlike(pairs: Sequence[Examined]) -> tuple[list[int], list[list[Examined]]]:
    """Rows of targets that differ, and the pairs that have each; photos of one colour look like nothing."""
    owners: dict[str, list[int]] = {}
    for row, one in enumerate(pairs):
        if one.target is not None and one.target.spread > FLAT:
            owners.setdefault(one.target.digest, []).append(row)
    return [rows[0] for rows in owners.values()], [[pairs[row] for row in rows] for rows in owners.values()]


def _candidates(
    rows: Sequence[int], owners: Sequence[Sequence[Examined]], store: LookStore
) -> list[tuple[int, int, bool]]:
    if len(rows) < 2:
        return []
    step = max(len(rows) // SAMPLE, 1)
    vocabulary = Vocabulary([store[row] for row in rows[::step]])
    described = [vectors(vocabulary, store[row]) for row in track(rows, "describing photos", len(rows))]
    numbers: dict[str, int] = {}
    groups = np.array(
        [
            numbers.setdefault(pairs[0].pair.group, len(numbers))
            if len({one.pair.group for one in pairs}) == 1
            else -1 - n
            for n, pairs in enumerate(owners)
        ]
    )
    found: set[tuple[int, int, bool]] = set()
    for name, (count, floor) in NEIGHBOURS.items():
        straight, mirror = (np.stack([row[name][side] for row in described]) for side in (0, 1))
        found |= nearest(straight, mirror, groups, count, floor)
    return sorted(found)


def _findings(kind: str, links: Sequence[Link]) -> list[Finding]:
    """One finding for each cluster of linked pairs."""
    return [_finding(kind, cluster) for cluster in _clusters(links)]


def _clusters(links: Sequence[Link]) -> Iterable[list[Link]]:
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for link in links:
        parent[root(id(link.first))] = root(id(link.second))
    clusters: dict[int, list[Link]] = {}
    for link in links:
        clusters.setdefault(root(id(link.first)), []).append(link)
    return clusters.values()


def _finding(kind: str, links: Sequence[Link]) -> Finding:
    members = list({id(one): one for link in links for one in (link.first, link.second)}.values())
    pairs = tuple(one.pair for one in members)
    parts = sorted({part for link in links if len(link.parts) > 1 for part in link.parts}, key=_order)
    left_out: dict[PairPaths, None] = {link.earlier.pair: None for link in links if len(link.parts) > 1}
    across = f" on two sides of the split ({' and '.join(parts)})" if parts else ""
    remedy = f"{REMEDY}, or keep one of them" if kind != "same-scene" else REMEDY
    figures = {}
    likenesses = [link.likeness for link in links if link.likeness is not None]
    if likenesses:
        figures = {
            "features": float(max(one.features for one in likenesses)),
            "correlation": round(max(one.correlation for one in likenesses), 3),
        }
    text = f"{len(pairs)} pairs of {len({pair.group for pair in pairs})} groups{across} {SAID[kind]}: {listed(pairs)}"
    return Finding(kind, _severity(kind, links), pairs, text, remedy, figures, tuple(left_out))


def _severity(kind: str, links: Sequence[Link]) -> Severity:
    """A leak into the test set is an error; so is an equal photo across the split, which training refuses."""
    across = [link for link in links if len(link.parts) > 1]
    exact = kind in ("duplicate", "shared-target")
    if any("test" in link.parts for link in across) or (across and exact):
        return "error"
    return "warning" if across or exact else "note"


def group_leaks(pairs: Sequence[Examined]) -> list[Finding]:
    """Find groups that are on two sides of the split."""
    groups: dict[str, list[Examined]] = {}
    for one in pairs:
        groups.setdefault(one.pair.group, []).append(one)
    findings = []
    for group, members in groups.items():
        parts = sorted({one.part for one in members}, key=_order)
        if len(parts) > 1:
            left_out = tuple(one.pair for one in members if one.part != parts[-1])
            text = f"group {group!r} is on two sides of the split: {' and '.join(parts)}"
            remedy = "keep a group on one side"
            everyone = tuple(one.pair for one in members)
            findings.append(Finding("group-leak", "error", everyone, text, remedy, leave_out=left_out))
    return findings
