"""Means with their uncertainty, and whether two things differ, photo by photo.

Scenes are the unit: photos of one are alike, so they are drawn, and their signs flipped, together.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from hdr_lightning.evaluation.results import Evaluation

RESAMPLES = 10_000

AT_ONCE = 2**22
"""Numbers that are drawn at once, so that large evaluations need little memory."""


class Summary(NamedTuple):
    """A mean over photos, the spread between photos, and the 95 % interval of the mean.

    The interval is not a number where there is one scene: nothing says how another would be.
    """

    mean: float
    spread: float
    low: float
    high: float


class Difference(NamedTuple):
    """The mean difference of pairs, its 95 % interval, and how likely such a difference is where there is none."""

    mean: float
    low: float
    high: float
    p: float


def summarise(values: Sequence[float], groups: Sequence[str]) -> Summary:
    """Describe what was measured of photos.

    Args:
        values: a number a photo, one or more.
        groups: the scene of each.
    """
    data = np.asarray(values, dtype=float)
    low, high = _interval(data, groups)
    return Summary(float(data.mean()), float(data.std(ddof=1)) if len(data) > 1 else 0.0, low, high)


def compare(first: Sequence[float], second: Sequence[float], groups: Sequence[str]) -> Difference:
    """Compare two things on the same photos: the second less the first.

    The test flips the signs of whole scenes: if the two are alike, each is as likely. All ways are tried where there
    are few (13 scenes or fewer), else 10,000 at random. With five scenes no p is below 0.06, with two none below 0.5.

    Args:
        first: a number a photo, one or more.
        second: the same of the other.
        groups: the scene of each photo.
    """
    data = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    low, high = _interval(data, groups)
    return Difference(float(data.mean()), low, high, flip_test(by_scene(data, groups)[0]))


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Correct several p for being several (Holm, 1979): the chance that any of them is as small where all is alike.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    corrected, largest = {}, 0.0
    for place, name in enumerate(sorted(chances, key=chances.__getitem__)):
        largest = min(max(largest, (len(chances) - place) * chances[name]), 1.0)
        corrected[name] = largest
    return {name: corrected[name] for name in chances}


def summarise_contender(evaluation: Evaluation, contender: str, measure: str) -> Summary | None:
    """Describe a measure of a contender over its sound photos; nothing where none has it."""
    values = evaluation.values.get(contender, {}).get(measure, [])
    found = [(value, photo.group) for value, photo in zip(values, evaluation.photos, strict=False) if value is not None]
    return summarise(*zip(*found, strict=True)) if found else None


def compare_contenders(evaluation: Evaluation, measure: str, reference: str) -> dict[str, Difference]:
    """Compare every other contender with one of them, on the photos that both have; p are corrected by `holm`.

    Args:
        evaluation: what was measured.
        measure: one of its measures.
        reference: the contender that the others are compared with.

    Returns:
        By contender; those without a photo in common are left out.
    """
    found = {}
    base = evaluation.values.get(reference, {}).get(measure, [])
    for contender in evaluation.contenders:
        values = evaluation.values.get(contender.name, {}).get(measure, [])
        rows = [
            (one, other, photo.group)
            for one, other, photo in zip(base, values, evaluation.photos, strict=False)
            if one is not None and other is not None
        ]
        if rows and contender.name != reference:
            found[contender.name] = compare(*zip(*rows, strict=True))
    chances = holm({name: each.p for name, each in found.items()})
    return {name: each._replace(p=chances[name]) for name, each in found.items()}


def _interval(data: np.ndarray, groups: Sequence[str]) -> tuple[float, float]:
    """The expanded percentile interval (Hesterberg, 2015) of the mean.

    Means of samples of n scenes spread less than means of scenes, by sqrt((n - 1) / n), and have no tails of t: the
    quantiles are taken further out by as much.
    """
    sums, counts = by_scene(data, groups)
    if len(sums) < 2:
        return math.nan, math.nan
    if np.ptp(data) == 0:
        return float(data[0]), float(data[0])
    tail = NormalDist().cdf(-math.sqrt(len(sums) / (len(sums) - 1)) * t_quantile(len(sums) - 1))
    means = np.concatenate([sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1) for drawn in _draws(len(sums))])
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def _draws(scenes: int) -> Iterator[np.ndarray]:
    """Samples of scenes with replacement, some at a time: always the same."""
    rng = np.random.default_rng(0)
    rows = max(AT_ONCE // scenes, 1)
    for start in range(0, RESAMPLES, rows):
        yield rng.integers(scenes, size=(min(rows, RESAMPLES - start), scenes))


def flip_test(sums: np.ndarray) -> float:
    """The share of flips of signs of scenes whose sum is as large, two-sided."""
    least = abs(sums.sum()) * (1 - 1e-9)
    if 2 ** len(sums) <= RESAMPLES:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= least).mean())
    rng = np.random.default_rng(0)
    rows = max(AT_ONCE // len(sums), 1)
    as_large = 0
    for start in range(0, RESAMPLES, rows):
        signs = rng.choice((-1.0, 1.0), size=(min(rows, RESAMPLES - start), len(sums)))
        as_large += int((np.abs(signs @ sums) >= least).sum())
    return (1 + as_large) / (1 + RESAMPLES)


def by_scene(data: np.ndarray, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of the photos of each scene."""
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(places, weights=data), np.bincount(places)


def t_chance(t: float, freedom: float) -> float:
    """How likely Student's t is as far from 0, on both sides; degrees of freedom may be broken.

    With t = sqrt(freedom) tan(angle) its density is a power of the angle's cosine.

    >>> round(t_chance(2.7764, 4), 4), round(t_chance(12.7062, 1), 4), round(t_chance(1.96, 1e5), 4)
    (0.05, 0.05, 0.05)
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    return _area(angle, math.pi / 2, freedom) / _area(0.0, math.pi / 2, freedom)


def t_quantile(freedom: float) -> float:
    """The 97.5 % quantile of Student's t: what 95 % of it lie within.

    >>> round(t_quantile(4), 4), round(t_quantile(23), 4), round(t_quantile(100_000), 3)
    (2.7764, 2.0687, 1.96)
    """
    low, high = 0.0, 13.0  # 12.706 with one degree
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if t_chance(middle, freedom) < 0.05 else (middle, high)
    return (low + high) / 2


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of a few numbers by Student's t, such as of runs; not a number for a single one.

    >>> t_interval([1.0])
    (nan, nan)
    """
    if len(values) < 2:
        return math.nan, math.nan
    data = np.asarray(values, dtype=float)
    half = t_quantile(len(data) - 1) * float(data.std(ddof=1)) / math.sqrt(len(data))
    return float(data.mean()) - half, float(data.mean()) + half


def _area(low: float, high: float, freedom: float) -> float:
    """Under that power of the cosine; it is narrow where there are many degrees."""
    high = min(high, low + 40 / math.sqrt(freedom))
    angles = np.linspace(low, high, 20_001)
    heights = np.cos(angles) ** (freedom - 1)
    return float((heights[:-1] + heights[1:]).sum() / 2 * (angles[1] - angles[0]))
