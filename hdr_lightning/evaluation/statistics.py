"""Means with their uncertainty, and whether two things differ, photo by photo."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000


class Summary(NamedTuple):
    """A mean over photos, the spread between photos, and the 95 % interval of the mean."""

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
        values: a number a photo.
        groups: the scene of each: scenes are resampled as a whole, as photos of one are alike.
    """
    data = np.asarray(values, dtype=float)
    low, high = np.quantile(_means(data, groups), (0.025, 0.975))
    return Summary(float(data.mean()), float(data.std(ddof=1)) if len(data) > 1 else 0.0, float(low), float(high))


def compare(first: Sequence[float], second: Sequence[float], groups: Sequence[str]) -> Difference:
    """Compare two things on the same photos: the second less the first.

    The test flips the signs of whole scenes, at random: under the hypothesis that the two are alike, each is as likely.

    Args:
        first: a number a photo.
        second: the same of the other.
        groups: the scene of each photo.
    """
    data = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    low, high = np.quantile(_means(data, groups), (0.025, 0.975))
    sums, _ = _by_group(data, groups)
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(RESAMPLES, len(sums)))
    as_large = np.abs(signs @ sums) >= abs(sums.sum()) * (1 - 1e-12)
    return Difference(float(data.mean()), float(low), float(high), float((1 + as_large.sum()) / (1 + RESAMPLES)))


def _means(data: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Means of samples of scenes, drawn with replacement."""
    sums, counts = _by_group(data, groups)
    drawn = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    return sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)


def _by_group(data: np.ndarray, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(places, weights=data), np.bincount(places)
