"""Which pairs train, which validate and which are held out: resolved here and nowhere else.

Training may not open a photo of the test set, not even to compare it. So that a test photo cannot hide among the
training photos under another name, files are compared by size first, which needs no opening, and by content where sizes
agree: through the hashes of `SHA256SUMS` for the test set, through the files themselves for the rest.
"""

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hdr_lightning.data.files import content_hash, writing
from hdr_lightning.data.manifest import PairPaths, located, read_pairs
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

SUMS = "SHA256SUMS"
REMEDY = 'keep it in one of them, or give the pairs a common "group"'

HeldOut = int | list[str] | Path
"""The test set: the first k pairs, or the names of its sources, or a manifest of its own."""


@dataclass(frozen=True)
class Split:
    """Pairs by their use, in the order of the manifest.

    Attributes:
        left_out: pairs in no part, because they share a group with a test pair that was named or counted off.
        quarantined: pairs in no part, because a quarantine list names them.
    """

    train: list[PairPaths]
    validation: list[PairPaths]
    test: list[PairPaths]
    left_out: list[PairPaths]
    quarantined: list[PairPaths] = field(default_factory=list)

    def items(self) -> list[tuple[str, list[PairPaths]]]:
        """The three parts with their names."""
        return [("test", self.test), ("training", self.train), ("validation", self.validation)]


def split_pairs(
    pairs: Sequence[PairPaths], test: HeldOut, validation: float, seed: int, quarantine: Collection[Path] = frozenset()
) -> Split:
    """Split pairs as `divide_pairs` does, and refuse a file that lies in two parts.

    Raises:
        InputError: as `divide_pairs`, or if a file is in two parts.
    """
    parts = divide_pairs(pairs, test, validation, seed, quarantine)
    _refuse_shared_files(parts)
    return parts


def divide_pairs(
    pairs: Sequence[PairPaths], test: HeldOut, validation: float, seed: int, quarantine: Collection[Path] = frozenset()
) -> Split:
    """Split pairs; groups are never divided. Opens no file.

    Args:
        pairs: all pairs, or all but the test set where that has a manifest of its own.
        test: the held-out set.
        validation: share of the remaining pairs for validation, in (0, 1).
        seed: chooses the validation groups.
        quarantine: absolute paths of sources to leave out. They go last, so that the rest stays on its side.

    Raises:
        InputError: if the test set is not among the pairs, or a part would be empty.
    """
    held_out = _held_out(pairs, test)
    names, groups = {pair.name for pair in held_out}, {pair.group for pair in held_out}
    if isinstance(test, Path):  # other files, perhaps under the same names
        names = set()
    rest = [pair for pair in pairs if pair.name not in names and pair.group not in groups]
    left_out = [pair for pair in pairs if pair.name not in names and pair.group in groups]

    wanted = round(validation * len(rest))
    by_group: dict[str, list[PairPaths]] = {}
    for pair in rest:
        by_group.setdefault(pair.group, []).append(pair)
    order = sorted(by_group)
    np.random.default_rng(seed).shuffle(order)
    chosen: set[str] = set()
    count = 0
    for group in order:
        if count < max(wanted, 1) and (count == 0 or count + len(by_group[group]) <= wanted):
            chosen.add(group)
            count += len(by_group[group])
    parts = Split(
        [pair for pair in rest if pair.group not in chosen],
        [pair for pair in rest if pair.group in chosen],
        held_out,
        left_out,
    )
    parts = _without(parts, quarantine)
    in_quarantine = f", {len(parts.quarantined)} pairs of them in quarantine" if quarantine else ""
    if not parts.train or not parts.validation:
        raise InputError(
            f"too few pairs to split: {len(pairs)} pairs, of which {len(held_out)} are held out for the test and "
            f"{len(by_group)} groups are left{in_quarantine}; training and validation need a group each: "
            "add pairs or hold out fewer"
        )
    return parts


def _without(parts: Split, quarantine: Collection[Path]) -> Split:
    train, validation, test = (
        [pair for pair in part if located(pair.source) not in quarantine]
        for part in (parts.train, parts.validation, parts.test)
    )
    everyone = (*parts.train, *parts.validation, *parts.test)
    quarantined = [pair for pair in everyone if located(pair.source) in quarantine]
    return Split(train, validation, test, parts.left_out, quarantined)


def _held_out(pairs: Sequence[PairPaths], test: HeldOut) -> list[PairPaths]:
    if isinstance(test, Path):
        return read_pairs(test)
    if isinstance(test, int):
        if not 0 <= test < len(pairs):
            raise InputError(
                f"too few pairs to split: the first {test} are to be the test set, and there are {len(pairs)}: "
                "add pairs or hold out fewer"
            )
        return list(pairs[:test])
    by_name = {pair.name: pair for pair in pairs}
    unknown = [name for name in test if name not in by_name]
    if unknown:
        raise InputError(f'the test set names {unknown[0]}, which is no "src" of the manifest: check the spelling')
    return [by_name[name] for name in test]


def _files(pairs: Iterable[PairPaths]) -> list[Path]:
    return [path for pair in pairs for path in (pair.source, pair.target)]


def _identity(path: Path) -> tuple[int, int] | str:
    """What makes a file itself, links seen through; its path where it is missing, which the check of photos reports."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute())
    return (status.st_dev, status.st_ino) if status.st_ino else str(path.resolve())


def _refuse_shared_files(parts: Split) -> None:
    owner: dict[tuple[int, int] | str, tuple[str, Path]] = {}
    for part, pairs in parts.items():
        for path in _files(pairs):
            first, other = owner.setdefault(_identity(path), (part, path))
            if first != part:
                raise InputError(f"{path} of the {part} set is the same file as {other} of the {first} set: {REMEDY}")


def refuse_shared_content(parts: Split, origin: Path | Sequence[Path], may_open_test: bool) -> None:
    """Refuse photos of one part that lie in another part under another name.

    Args:
        parts: the split; files that are not there are left out, with a warning.
        origin: manifest or folders of the test set; the hashes that `fingerprint` left beside it are consulted where
            test photos may not be opened.
        may_open_test: whether this is the test itself.

    Raises:
        InputError: if a content is in two parts; or if that cannot be told without opening a test photo.
    """
    where = [(part, path) for part, pairs in parts.items() for path in _files(pairs)]
    by_size: dict[int, list[tuple[str, Path]]] = {}
    there = [(part, path) for part, path in where if path.is_file()]
    if len(there) < len(where):
        warnings.warn(
            f"{len(where) - len(there)} of {len(where)} photos are not on this machine: "
            "whether they share content with the others was not checked",
            stacklevel=2,
        )
    for part, path in there:
        by_size.setdefault(path.stat().st_size, []).append((part, path))
    sums = sums_beside(origin)
    known = {} if may_open_test else read_sums(sums)
    remedy = " ".join(map(str, [origin] if isinstance(origin, Path) else origin))
    for alike in by_size.values():
        if len({part for part, _ in alike}) < 2:
            continue
        owner: dict[str, tuple[str, Path]] = {}
        for part, path in alike:
            if part == "test" and not may_open_test:
                other = next(other for name, other in alike if name != "test")
                digest = _recorded(path, known, sums, other, remedy)
            else:
                digest = content_hash(path)
            first, other = owner.setdefault(digest, (part, path))
            if first != part:
                raise InputError(f"{path} of the {part} set has the content of {other} of the {first} set: {REMEDY}")


def _recorded(path: Path, known: dict[Path, str], sums: Path, other: Path, remedy: str) -> str:
    digest = known.get(path.resolve())
    if digest is None or path.stat().st_mtime > sums.stat().st_mtime:
        raise InputError(
            f"{other} has as many bytes as {path} of the test set, so they may be the same photo, and training may not "
            f"open test photos to see: run `hdr-lightning fingerprint {remedy}` once, which writes {sums}"
        )
    return digest


def sums_beside(origin: Path | Sequence[Path]) -> Path:
    """The file of hashes that belongs to a manifest, or to a pair of folders."""
    return (origin if isinstance(origin, Path) else origin[0]).parent / SUMS


def fingerprint(pairs: Sequence[Path]) -> Path:
    """Record the content of all photos of a data set, so that training can tell test photos apart without opening them.

    Writes `SHA256SUMS` beside the manifest or the source folder, which the command `sha256sum -c` understands too.

    Args:
        pairs: a JSONL manifest, or a folder of sources and a folder of targets.

    Returns:
        The file written.

    Raises:
        InputError: if there are no such pairs, or a photo is missing.
    """
    origin = pairs[0] if len(pairs) == 1 else pairs
    paths = sorted(set(_files(read_pairs(origin))))
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    sums = sums_beside(origin)
    others = [path for path in read_sums(sums) if path.is_file()]  # of another manifest in this folder
    paths = sorted({path.absolute() for path in paths} | set(others))
    write_sums(paths, sums)
    print(f"{sums}: {len(paths)} photos")
    return sums


def write_sums(paths: Sequence[Path], sums: Path) -> None:
    """Record the content of photos, in the format of the command sha256sum, paths relative to the file."""
    lines = [
        f"{content_hash(path)}  {os.path.relpath(path.absolute(), sums.parent.absolute())}\n"
        for path in track(paths, "fingerprinting", len(paths))
    ]
    with writing(sums) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_sums(sums: Path) -> dict[Path, str]:
    """Read recorded hashes by resolved path; nothing where there is no such file."""
    if not sums.is_file():
        return {}
    rows = (line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines() if line.strip())
    return {(sums.parent / row[1].lstrip("*")).resolve(): row[0] for row in rows if len(row) == 2}
