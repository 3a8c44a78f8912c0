"""Pairs whose source and target are probably swapped: an editor's changes go one way, and theirs go the other.

A logistic regression learns from the whole set which way the statistics change from source to target. It knows no
constant, so that swapping a pair changes the sign of its verdict. A few swapped pairs do not mislead it, and each pair
is judged by a model that has not seen its group.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.audit.photos import PhotoFacts

ENOUGH = 20
"""Pairs below which nothing can be said."""

FOLDS = 5
AGREE = 0.85
"""Share of pairs that must go one way before the others are suspected."""

USUAL = 20
"""A pair is swapped if it goes the other way as far as all but this percentage of the rest go theirs."""

SURE = 1.0
"""Log odds that it must reach at least."""


def changes(source: PhotoFacts, target: PhotoFacts) -> list[float]:
    """What changes from source to target, in statistics that an edit moves."""
    return [
        target.brightness - source.brightness,
        target.contrast - source.contrast,
        target.saturation - source.saturation,
        target.bright - source.bright,
        target.dark - source.dark,
        abs(target.brightness - 0.5) - abs(source.brightness - 0.5),
    ]


def log_odds(changed: NDArray[np.float64], groups: Sequence[str]) -> NDArray[np.float64]:
    """How surely each pair goes the way of the others.

    Args:
        changed: (n, d), the changes of each pair.
        groups: (n), pairs of one group are judged together.

    Returns:
        (n,), natural logarithm of the odds; negative for a pair that looks swapped.
    """
    scale = 1.4826 * np.median(np.abs(changed), axis=0)
    scaled = np.clip(changed / np.where(scale > 1e-4, scale, max(float(scale.max()), 1e-4)), -5, 5)
    order = {group: rank for rank, group in enumerate(sorted(set(groups)))}
    fold = np.array([order[group] % FOLDS for group in groups])
    odds = np.ones(len(scaled))
    for _ in range(3):  # those that go the other way have no say in which way is the common one
        common, odds = odds > 0, np.zeros(len(scaled))
        for number in range(FOLDS):
            seen = fold != number
            if (seen & common).any():
                odds[~seen] = scaled[~seen] @ _fit(scaled[seen & common])
    return odds


def _fit(rows: NDArray[np.float64], ridge: float = 1.0) -> NDArray[np.float64]:
    """Weights of a logistic regression without a constant in which every row is to come out positive (Newton)."""
    weights = np.zeros(rows.shape[1])
    for _ in range(20):
        chance = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (1 - chance) - ridge * weights
        curvature = (rows * (chance * (1 - chance))[:, None]).T @ rows + ridge * np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, gradient)
    return weights


def find_swapped(changed: NDArray[np.float64], groups: Sequence[str]) -> list[tuple[int, float]]:
    """Find pairs that go the other way than the rest.

    Returns:
        Their rows with the log odds; nothing where the set is too small or goes no common way.
    """
    if len(changed) < ENOUGH:
        return []
    odds = log_odds(changed, groups)
    if (odds > 0).mean() < AGREE:
        return []
    far = max(SURE, float(np.percentile(odds[odds > 0], USUAL)))
    return [(int(row), float(odds[row])) for row in np.nonzero(odds < -far)[0]]
