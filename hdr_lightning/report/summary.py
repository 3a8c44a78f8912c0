"""What an evaluation says, in few numbers: means with intervals, gains, and whether they may be chance."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.evaluation.statistics import (
    Difference,
    Summary,
    compare_contenders,
    summarise_contender,
)


class Cell(NamedTuple):
    """A measure of a contender over all photos that could be measured.

    Attributes:
        photos: how many they are.
        mean: with its spread and 95 % interval.
        gain: over the untouched sources on the photos that both have; nothing for the sources themselves.
        improved: whether the gain is one, by the measure's direction.
        best: whether no other contender has a better mean of the photos that all of them have.
    """

    photos: int
    mean: Summary
    gain: Difference | None
    improved: bool
    best: bool


class Line(NamedTuple):
    """A measure, and what it is of each contender; nothing where it was not measured."""

    measure: str
    cells: dict[str, Cell | None]


def summary(evaluation: Evaluation) -> list[Line]:
    """Summarise an evaluation, a line a measure."""
    return [_line(evaluation, measure) for measure in evaluation.measures]


def _line(evaluation: Evaluation, measure: str) -> Line:
    names = [contender.name for contender in evaluation.contenders]
    found = {name: summarise_contender(evaluation, name, measure) for name in names}
    means = {name: mean for name, mean in found.items() if mean is not None}
    gained = compare_contenders(evaluation, measure, SOURCE) if SOURCE in names else {}
    sign = 1 if MEASURES[measure].better == "higher" else -1
    best = _best({name: sound_values(evaluation, name, measure) for name in means if name != SOURCE}, sign)
    cells: dict[str, Cell | None] = dict.fromkeys(names)
    for name, mean in means.items():
        gain = gained.get(name)
        cells[name] = Cell(
            sum(value is not None for value in sound_values(evaluation, name, measure)),
            mean,
            gain,
            gain is not None and sign * gain.mean > 0,
            len(means) > 2 and name in best,
        )
    return Line(measure, cells)


def _best(columns: Mapping[str, Sequence[float | None]], sign: int) -> list[str]:
    """Who is best on the photos that all have: to break on a hard photo is no merit."""
    rows = [row for row in zip(*columns.values(), strict=True) if None not in row]
    sums = [sign * sum(column) for column in zip(*rows, strict=True)]
    return [name for name, total in zip(columns, sums, strict=bool(sums)) if total == max(sums)]


def sound_values(evaluation: Evaluation, contender: str, measure: str) -> list[float | None]:
    """A measure of every photo; nothing where it was not measured, or the photo is at fault."""
    faults = evaluation.faults.get(contender, {})
    column = evaluation.values.get(contender, {}).get(measure) or [None] * len(evaluation.photos)
    return [None if photo.name in faults else value for photo, value in zip(evaluation.photos, column, strict=True)]


def leading_measure(evaluation: Evaluation) -> str | None:
    """By which photos are put in order: PSNR, or the first that was measured."""
    measures = evaluation.measures
    return "psnr" if "psnr" in measures else next(iter(measures), None)


def gains(evaluation: Evaluation) -> list[float | None]:
    """By how much the first contender that is not the source improves each photo, more is better.

    Where the sources were not measured, how good it is.
    """
    measure = leading_measure(evaluation)
    contender = next((each.name for each in evaluation.contenders if each.name != SOURCE), None)
    if measure is None or contender is None:
        return [None] * len(evaluation.photos)
    sign = 1 if MEASURES[measure].better == "higher" else -1
    before, after = (sound_values(evaluation, name, measure) for name in (SOURCE, contender))
    compared = any(value is not None for value in before)
    return [
        None if new is None or (compared and old is None) else sign * (new - (old or 0.0 if compared else 0.0))
        for old, new in zip(before, after, strict=True)
    ]


def ranked(evaluation: Evaluation) -> list[int]:
    """Places of the photos: those at fault first, then those that gain least."""
    faulty = {name for faults in evaluation.faults.values() for name in faults}
    gained = gains(evaluation)

    def key(place: int) -> tuple[bool, bool, float, str]:
        name, gain = evaluation.photos[place].name, gained[place]
        return name not in faulty, gain is None, gain or 0.0, name

    return sorted(range(len(evaluation.photos)), key=key)


def text(value: float | None, measure: str, signed: bool = False) -> str:
    """A measured value as people read it; empty for none.

    >>> text(21.3456, "psnr"), text(0.00123, "l1", signed=True), text(None, "l1")
    ('21.35', '+0.0012', '')
    """
    if value is None:
        return ""
    return f"{value:{'+' if signed else ''}.{MEASURES[measure].digits}f}"


def interval(mean: Summary, measure: str, between: str = " to ") -> str:
    """The 95 % interval of a mean as people read it; in words where one scene has none.

    >>> interval(Summary(21.0, 1.0, 20.123, 22.0), "psnr"), interval(Summary(21.0, 0.0, math.nan, math.nan), "psnr")
    ('20.12 to 22.00', 'one scene')
    """
    if math.isnan(mean.low):
        return "one scene"
    return f"{text(mean.low, measure)}{between}{text(mean.high, measure)}"


def chance(p: float) -> str:
    """How likely such a difference is where there is none.

    >>> chance(0.0312), chance(0.00004)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p >= 0.1 else f"p = {p:.3f}"
