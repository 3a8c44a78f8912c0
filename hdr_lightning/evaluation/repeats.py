"""Compare two recipes that were each trained several times: photos are chance, and so are seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hdr_lightning.evaluation.statistics import by_scene, flip_test, holm, t_chance, t_quantile

LEVEL = 0.05
"""A chance that is as small counts as evidence."""


class RunsDifference(NamedTuple):
    """The mean difference of runs with the same seed on the same photos: the second less the first.

    Attributes:
        mean: over seeds and photos.
        low: of its 95 % interval, for other photos and other seeds; not a number with one seed or one scene.
        high: likewise.
        p: how likely it is where there is none, by both sources of chance; not a number where the interval is none.
        p_photos: how likely it is for these very networks, by photos alone (flips of scenes).
        by_seed: the mean over photos of each seed.
        scenes: how many there are.
    """

    mean: float
    low: float
    high: float
    p: float
    p_photos: float
    by_seed: tuple[float, ...]
    scenes: int

    @property
    def verdict(self) -> str:
        """Whether the evidence bears a difference: photos and seeds both have to.

        Returns:
            `significant`, or `not significant` with the reason.
        """
        if len(self.by_seed) < 2:
            return "not significant: one seed"
        if self.scenes < 6:
            return f"not significant: {self.scenes} scene{'s' * (self.scenes > 1)}"  # no flip test can be below 0.06
        if not self.p_photos < LEVEL:
            return "not significant: photos"
        return "significant" if self.p < LEVEL else "not significant: seeds"


def compare_runs(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], groups: Sequence[str]
) -> RunsDifference:
    """Compare two recipes on the same photos, each trained with the same seeds.

    The variance of the mean difference is the sum of what scenes and what seeds contribute, each as if it alone were
    chance; what they share is counted twice, which errs to the safe side. The degrees of freedom are those of
    Satterthwaite (1946).

    Args:
        first: a row for each seed with a number a photo.
        second: the same of the other.
        groups: the scene of each photo.
    """
    data = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    mean, by_seed, photos = float(data.mean()), data.mean(axis=1), data.mean(axis=0)
    sums, counts = by_scene(photos, groups)
    scenes, seeds = len(sums), len(by_seed)
    p_photos = flip_test(sums)
    low = high = p = math.nan
    if scenes > 1 and seeds > 1:
        of_scenes = scenes / (scenes - 1) * float(((sums - counts * mean) ** 2).sum()) / counts.sum() ** 2
        of_seeds = float(by_seed.var(ddof=1)) / seeds
        low, high, p = _student(mean, of_scenes, scenes - 1, of_seeds, seeds - 1)
    return RunsDifference(mean, low, high, p, p_photos, tuple(map(float, by_seed)), scenes)


def _student(mean: float, one: float, freedom: int, other: float, others: int) -> tuple[float, float, float]:
    """Interval and chance of a mean with two sources of variance."""
    total = one + other
    if total == 0:
        return mean, mean, float(mean == 0)
    degrees = total**2 / (one**2 / freedom + other**2 / others)
    half = t_quantile(degrees) * math.sqrt(total)
    return mean - half, mean + half, t_chance(mean / math.sqrt(total), degrees)


def corrected(found: Mapping[str, RunsDifference]) -> dict[str, RunsDifference]:
    """Correct the chances of several comparisons for being several (`holm`)."""
    photos = holm({name: each.p_photos for name, each in found.items()})
    both = holm({name: each.p for name, each in found.items() if not math.isnan(each.p)})
    return {name: each._replace(p=both.get(name, math.nan), p_photos=photos[name]) for name, each in found.items()}
