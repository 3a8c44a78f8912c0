"""Which pairs train, which validate and which are held out: resolved here and nowhere else. Opens no photo."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hdr_lightning.data.manifest import PairPaths, Pairs, read_pairs
from hdr_lightning.errors import InputError

HeldOut = int | float | list[str] | Path
"""The test set: the first k pairs, a share of them, the names of its sources, or a manifest of its own."""


@dataclass(frozen=True)
class Fold:
    """One part of `count` equal ones validates.

    Attributes:
        number: which, from 0.
        count: of all.
    """

    number: int
    count: int


@dataclass(frozen=True)
class Split:
    """Pairs by their use, in the order of the manifest.

    Attributes:
        left_out: pairs in no part: they share a group with a test pair that was named or counted off, or a file that
            says which pair serves what does not name them.
        quarantined: pairs in no part, because a quarantine list names them.
    """

    train: Pairs
    validation: Pairs
    test: Pairs
    left_out: Pairs
    quarantined: Sequence[PairPaths] = ()

    def items(self) -> list[tuple[str, Pairs]]:
        """The three parts with their names."""
        return [("test", self.test), ("training", self.train), ("validation", self.validation)]


def split_pairs(pairs: Iterable[PairPaths], test: HeldOut, validation: float | Fold, seed: int) -> Split:
    """Split pairs; groups are never divided.

    Groups are shuffled in the order of their names, or, where every pair is its own, in the order of the manifest.

    Args:
        pairs: all pairs, or all but the test set where that has a manifest of its own.
        test: the held-out set. A share, in (0, 1), is drawn without the seed: another seed must not open test photos.
        validation: share of the remaining pairs for validation, in (0, 1), or a fold of them.
        seed: chooses the validation groups.

    Raises:
        InputError: if the test set is not among the pairs, or a part would be empty.
    """
    if seed < 0:
        raise InputError(f"the seed of a split is to be 0 or more, got {seed}")
    if not isinstance(validation, Fold) and not 0 < validation < 1:
        raise InputError(f"the share that validates is to lie between 0 and 1, got {validation}")
    pairs = pairs if isinstance(pairs, Pairs) else Pairs.of(pairs)
    held_out, taken = _hold_out(pairs, test)
    rest = Pairs(pairs.columns, pairs.rows[~taken])
    order = _shuffled(rest, np.random.default_rng(seed))
    if isinstance(validation, Fold):
        chosen = _fold(rest, order, validation)
    else:
        chosen = _choose(rest, order, max(round(validation * len(rest)), 1))
    of_test = np.isin(pairs.rows, held_out.rows) if held_out.columns is pairs.columns else np.zeros(len(pairs), bool)
    parts = Split(
        Pairs(rest.columns, rest.rows[~chosen]),
        Pairs(rest.columns, rest.rows[chosen]),
        held_out,
        Pairs(pairs.columns, pairs.rows[taken & ~of_test]),
    )
    if not len(parts.train) or not len(parts.validation):
        raise InputError(
            f"too few pairs to split: {len(pairs)} pairs, of which {len(held_out)} are held out for the test and "
            f"{len(order)} groups are left; training and validation need a group each: add pairs or hold out fewer"
        )
    return parts


def _hold_out(pairs: Pairs, test: HeldOut) -> tuple[Pairs, NDArray[np.bool_]]:
    """The test set, and which of the pairs belong to it or to its groups."""
    if isinstance(test, Path):
        held_out = read_pairs(test)
        return held_out, pairs.in_groups({pair.group for pair in held_out})
    if isinstance(test, list):
        held_out = named(pairs, test, "the test set")
    elif isinstance(test, int):
        if test < 0:
            raise InputError(f"data.test is to be 0 pairs or more, got {test}")
        if test >= len(pairs):
            raise InputError(
                f"too few pairs to split: the first {test} are to be the test set, and there are {len(pairs)}: "
                "add pairs or hold out fewer"
            )
        held_out = pairs[:test]
    else:
        if not 0 < test < 1:
            raise InputError(f"data.test is to be a number of pairs or a share between 0 and 1, got {test}")
        chosen = _choose(pairs, _shuffled(pairs, np.random.default_rng(0)), max(round(test * len(pairs)), 1))
        held_out = Pairs(pairs.columns, pairs.rows[chosen])
    return held_out, _in_groups(pairs, held_out.groups)


def hash_names(pairs: Iterable[PairPaths]) -> str:
    """SHA-256 of the names of pairs in whatever order, by which a set of them is known again."""
    return hashlib.sha256("\n".join(sorted(pair.name for pair in pairs)).encode()).hexdigest()


def named(pairs: Pairs, names: Sequence[str], who: str) -> Pairs:
    """Find pairs by their names, in the order of these.

    Raises:
        InputError: if there is no such pair; `who` asked for it.
    """
    names = list(dict.fromkeys(names))
    places = pc.index_in(pairs.names, value_set=pa.array(names, pa.string())).to_numpy()  # NaN where none
    there = np.flatnonzero(~np.isnan(places.astype(float)))
    by_name = dict(zip(places[there].astype(int).tolist(), there.tolist(), strict=True))
    for number, name in enumerate(names):
        if number not in by_name:
            raise InputError(f'{who} names {name}, which is no "src" of the manifest: check the spelling')
    return Pairs(pairs.columns, pairs.rows[[by_name[number] for number in range(len(names))]])


def _shuffled(pairs: Pairs, rng: np.random.Generator) -> NDArray[np.integer]:
    """Numbers of the groups of these pairs, in random order."""
    numbers, labels = np.unique(pairs.groups), pairs.columns.labels
    if labels is not None:
        numbers = numbers[pc.sort_indices(labels.take(pa.array(numbers))).to_numpy()]
    rng.shuffle(numbers)
    return numbers


def _in_groups(pairs: Pairs, numbers: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tell of each pair whether its group has one of these numbers."""
    wanted = np.zeros(int(pairs.columns.groups.max()) + 1, bool)
    wanted[numbers] = True
    return wanted[pairs.groups]


def _sizes(pairs: Pairs, order: NDArray[np.integer]) -> NDArray[np.integer]:
    return np.bincount(pairs.groups, minlength=int(order.max(initial=0)) + 1)[order]


def _choose(pairs: Pairs, order: NDArray[np.integer], wanted: int) -> NDArray[np.bool_]:
    """Take groups in an order, the first whatever its size and others while they fit, until there are enough pairs."""
    chosen: list[int] = []
    count = 0
    for group, size in zip(order.tolist(), _sizes(pairs, order).tolist(), strict=True):
        if count >= wanted:
            break
        if not chosen or count + size <= wanted:
            chosen.append(group)
            count += size
    return _in_groups(pairs, np.array(chosen, int))


def _fold(pairs: Pairs, order: NDArray[np.integer], fold: Fold) -> NDArray[np.bool_]:
    """Cut an order of groups into parts of equally many pairs, but for the size of a group."""
    if not 0 <= fold.number < fold.count <= len(order) or fold.count < 2:
        raise InputError(
            f"data.fold is {fold.number} of data.folds {fold.count}, and there are {len(order)} groups to divide: "
            "expected 2 folds or more, at most as many as groups, and a fold below folds"
        )
    sizes = _sizes(pairs, order)
    middles = np.cumsum(sizes) - sizes / 2
    return _in_groups(pairs, order[(middles * fold.count / sizes.sum()).astype(int) == fold.number])
