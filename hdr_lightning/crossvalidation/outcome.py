"""What a cross-validation found: the folds, their spread, the whole, and whether together they are better."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from hdr_lightning.crossvalidation.folds import Fold
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.evaluation.statistics import Difference, compare, holm, summarise_contender
from hdr_lightning.report.summary import chance

UNSEEN = "out of fold"
"""The contender whose pictures are of the networks that did not see the photos."""

ENSEMBLE = "ensemble"

ALPHA = 0.05


@dataclass(frozen=True)
class FoldFigures:
    """A fold, measured on the photos that validated it.

    Attributes:
        name: of its run.
        train: how many pairs it was trained on.
        photos: how many were measured.
        scenes: of these photos.
        values: mean of each measure.
        gains: the same, less that of the untouched sources.
    """

    name: str
    train: int
    photos: int
    scenes: int
    values: dict[str, float]
    gains: dict[str, float]


@dataclass(frozen=True)
class Mean:
    """A mean over photos with its 95 % interval, which is not known of one scene; and the spread of the folds' means.

    `spread` is the standard deviation between folds; nothing where there are no folds, as for the sources.
    """

    mean: float
    low: float | None
    high: float | None
    spread: float | None = None


@dataclass(frozen=True)
class Gain:
    """What the ensemble gains over something: mean difference per photo, 95 % interval, p after Holm's correction."""

    measure: str
    over: str
    mean: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class Together:
    """The folds' networks and their average on photos that none of them saw, and that chose none of them.

    Attributes:
        photos: how many.
        scenes: of these.
        means: by contender and measure.
        best: the member that did best out of fold: in gain over the sources, as folds differ in their photos.
        gains: of the ensemble, over its best member and over the mean of the members.
        passes: how many multiplications the ensemble takes, over those of its best member; nothing if not measured.
        verdict: in words.
    """

    photos: int
    scenes: int
    means: dict[str, dict[str, Mean]]
    best: str
    gains: list[Gain]
    passes: float | None
    verdict: str


@dataclass(frozen=True)
class Crossvalidation:
    """All of it.

    Attributes:
        base: the configuration.
        settings: that differ from it.
        seed: of the runs.
        folds: each.
        whole: means over all photos, by contender and measure.
        together: on the test set; nothing where that stayed closed.
    """

    base: str
    settings: dict[str, object]
    seed: int
    folds: list[FoldFigures]
    whole: dict[str, dict[str, Mean]]
    together: Together | None = field(default=None)

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=1, allow_nan=False, default=str)


def fold_figures(folds: Sequence[Fold], evaluation: Evaluation) -> list[FoldFigures]:
    """Means of each fold.

    Args:
        folds: which photos validate each.
        evaluation: of `UNSEEN`.
    """
    return [_figures(fold, evaluation) for fold in folds]


def _figures(fold: Fold, evaluation: Evaluation) -> FoldFigures:
    own = {pair.name for pair in fold.split.validation}
    places = [place for place, photo in enumerate(evaluation.photos) if photo.name in own]
    values, gains = {}, {}
    for measure in evaluation.measures:
        ours, theirs = (evaluation.values[each][measure] for each in (UNSEEN, SOURCE))
        found = [(ours[place], theirs[place]) for place in places]
        pairs = [(after, before) for after, before in found if after is not None and before is not None]
        if pairs:
            values[measure] = statistics.fmean(after for after, _ in pairs)
            gains[measure] = statistics.fmean(after - before for after, before in pairs)
    scenes = {evaluation.photos[place].group for place in places}
    return FoldFigures(fold.name, len(fold.split.train), len(places), len(scenes), values, gains)


def means_of(evaluation: Evaluation, folds: Sequence[FoldFigures] = ()) -> dict[str, dict[str, Mean]]:
    """Means of every contender with their intervals, and of `UNSEEN` the spread of the folds."""
    found: dict[str, dict[str, Mean]] = {}
    for contender in evaluation.contenders:
        found[contender.name] = {}
        for measure in evaluation.measures:
            each = summarise_contender(evaluation, contender.name, measure)
            if each is not None:
                parts = [fold.values[measure] for fold in folds if measure in fold.values]
                spread = statistics.stdev(parts) if contender.name == UNSEEN and len(parts) > 1 else None
                low, high = _known(each.low), _known(each.high)
                found[contender.name][measure] = Mean(each.mean, low, high, spread)
    return found


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def chief(measures: Sequence[str]) -> str:
    """The measure by which the best member is chosen and the verdict is spoken: PSNR where it was measured."""
    return "psnr" if "psnr" in measures else measures[0]


def best_member(folds: Sequence[FoldFigures]) -> str:
    """The fold whose network gained most over the untouched sources, on the photos that validated it."""
    measure = chief([name for fold in folds for name in fold.gains])  # a fold may have no sound photo
    return max(folds, key=lambda fold: _sign(measure) * fold.gains.get(measure, -_sign(measure) * math.inf)).name


def _sign(measure: str) -> int:
    return 1 if MEASURES[measure].better == "higher" else -1


def compare_together(evaluation: Evaluation, folds: Sequence[FoldFigures]) -> Together:
    """Compare the ensemble with its members, photo by photo.

    Args:
        evaluation: of `ENSEMBLE` and of every fold by its name, on the test set.
        folds: out of fold, by which the best member is chosen: the test set chooses nothing.
    """
    best = best_member(folds)
    members = [fold.name for fold in folds]
    gains = [gain for measure in evaluation.measures for gain in _gains(evaluation, measure, best, members)]
    costs = {each.name: each.cost for each in evaluation.contenders}
    one, all_of_them = costs.get(best), costs.get(ENSEMBLE)
    passes = None if one is None or all_of_them is None else all_of_them.macs / one.macs
    scenes = len({photo.group for photo in evaluation.photos})
    verdict = _verdict([gain for gain in gains if gain.measure == chief(evaluation.measures)], scenes, passes)
    return Together(len(evaluation.photos), scenes, means_of(evaluation), best, gains, passes, verdict)


class _Row(NamedTuple):
    ensemble: float
    best: float
    mean: float
    scene: str


def _gains(evaluation: Evaluation, measure: str, best: str, members: Sequence[str]) -> list[Gain]:
    rows = []
    for place, photo in enumerate(evaluation.photos):
        values = {name: evaluation.values[name][measure][place] for name in (ENSEMBLE, *members)}
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) == len(values):
            mean = statistics.fmean(known[name] for name in members)
            rows.append(_Row(known[ENSEMBLE], known[best], mean, photo.group))
    if not rows:
        return []
    ours, scenes = [row.ensemble for row in rows], [row.scene for row in rows]
    found: dict[str, Difference] = {
        f"its best member, {best}": compare([row.best for row in rows], ours, scenes),
        "the mean of its members": compare([row.mean for row in rows], ours, scenes),
    }
    chances = holm({name: each.p for name, each in found.items()})
    return [
        Gain(measure, name, each.mean, _known(each.low), _known(each.high), chances[name])
        for name, each in found.items()
    ]


def _verdict(gains: Sequence[Gain], scenes: int, passes: float | None) -> str:
    lines = [_sentence(gain) for gain in gains]
    if passes is not None:
        lines.append(f"It costs {passes:.3g} times the operations of its best member.")
    least = 2 * 2.0 ** (1 - scenes)  # of two tests, after the correction
    if least >= ALPHA:
        lines.append(f"With {scenes} scenes no p below {min(least, 1.0):.2g} is possible: hold out more.")
    return "\n".join(lines)


def _sentence(gain: Gain) -> str:
    measure = MEASURES[gain.measure]
    better = _sign(gain.measure) * gain.mean > 0
    figures = f"{measure.title} {gain_text(gain)}"
    if gain.p >= ALPHA:
        return f"Whether the ensemble differs from {gain.over}, these photos do not tell: {figures}."
    return f"The ensemble is {'better' if better else 'worse'} than {gain.over}: {figures}."


def gain_text(gain: Gain) -> str:
    """A difference with its interval and its chance."""
    interval = interval_text(gain, gain.measure, "+")
    return f"{gain.mean:+.{MEASURES[gain.measure].digits}f}{interval}, {chance(gain.p)}"


def interval_text(found: Mean | Gain, measure: str, sign: str = "") -> str:
    """An interval in brackets; nothing where it is not known."""
    if found.low is None or found.high is None:
        return ""
    digits = MEASURES[measure].digits
    return f" [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"
