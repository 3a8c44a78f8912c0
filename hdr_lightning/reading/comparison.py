"""What an evaluation found: means, and paired differences from one of its contenders."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from matplotlib.axes import Axes

from hdr_lightning.drawing import ALARM, BEST, QUIET, Drawing, name_rows, panels, styled
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.evaluation.statistics import compare_contenders
from hdr_lightning.reading.table import Table
from hdr_lightning.report.summary import chance, interval, summary, text

SIGNIFICANT = 0.05
"""Largest p, corrected for several comparisons, at which a difference counts."""

QUESTIONS = ("psnr", "psnr_inside", "psnr_outside")
"""Measures that are compared where none are named, those that are there."""


class Compared(NamedTuple):
    """A mean difference with its 95 % interval, and what it says: `better`, `worse`, or why neither."""

    mean: float
    low: float
    high: float
    verdict: str


ByMeasure = Mapping[str, Mapping[str, Compared]]
"""By measure, then by the name of what is compared."""


@styled
def draw_differences(evaluation: Evaluation, reference: str, measures: Sequence[str] = ()) -> Drawing:
    """Draw how far every contender is from one of them, photo by photo: the mean difference and its 95 % interval.

    Green is better, red is worse, grey is no difference that these photos show.

    Args:
        evaluation: what was measured.
        reference: the contender that the others are compared with.
        measures: which; PSNR of the photo, inside and outside of windows if nothing is given.

    Raises:
        InputError: if the reference or a measure is not there, or nothing is left to compare.
    """
    return draw_compared(compared(evaluation, reference, measures), reference)


def means_table(evaluation: Evaluation, measures: Sequence[str] = ()) -> Table:
    """Tabulate the mean and its 95 % interval of every contender.

    Args:
        evaluation: what was measured.
        measures: which; all if nothing is given.
    """
    lines = [line for line in summary(evaluation) if not measures or line.measure in measures]
    rows = []
    for contender in evaluation.contenders:
        cells = [(line.measure, line.cells[contender.name]) for line in lines]
        means = ["" if c is None else f"{text(c.mean.mean, m)} ({interval(c.mean, m)})" for m, c in cells]
        rows.append(["untouched" if contender.name == SOURCE else contender.name, *means])
    return Table(["mean (95 % interval)", *(MEASURES[line.measure].title for line in lines)], rows)


def compare_table(evaluation: Evaluation, reference: str, measures: Sequence[str] = ()) -> Table:
    """Tabulate how far every contender is from one of them, photo by photo, and whether that may be chance.

    Args:
        evaluation: what was measured.
        reference: the contender that the others are compared with.
        measures: which; PSNR of the photo, inside and outside of windows if nothing is given.

    Raises:
        InputError: if the reference or a measure is not there, or nothing is left to compare.
    """
    return compared_table(compared(evaluation, reference, measures), reference)


def compared(evaluation: Evaluation, reference: str, measures: Sequence[str]) -> ByMeasure:
    """The differences. The untouched sources are left out, as the correction of p counts what is compared.

    Raises:
        InputError: if the reference or a measure is not there, or nothing is left to compare.
    """
    trained = replace(evaluation, contenders=[each for each in evaluation.contenders if each.name != SOURCE])
    names = [each.name for each in trained.contenders]
    if reference not in names or len(names) < 2:
        raise InputError(f"expected {reference!r} and others to compare with it, there is {', '.join(names)}")
    chosen = choose_measures(measures, evaluation.measures)
    found = {measure: compare_contenders(trained, measure, reference) for measure in chosen}
    return {
        measure: {
            name: Compared(*each[:3], judged(each.mean, measure, each.p < SIGNIFICANT, f"not shown, {chance(each.p)}"))
            for name, each in differences.items()
        }
        for measure, differences in found.items()
    }


def choose_measures(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those that are asked for, or else the usual ones.

    Raises:
        InputError: if one was not measured.
    """
    chosen = list(asked) or [each for each in QUESTIONS if each in known] or list(known[:1])
    missing = [each for each in chosen if each not in known]
    if missing or not chosen:
        told = ", ".join(missing) or "anything"
        raise InputError(f"{told} was not measured: choose among {', '.join(known) or 'nothing'}")
    return chosen


def judged(mean: float, measure: str, significant: bool, otherwise: str) -> str:
    """A difference in a word."""
    if not significant:
        return otherwise
    return "better" if (mean > 0) == (MEASURES[measure].better == "higher") else "worse"


def compared_table(found: ByMeasure, reference: str) -> Table:
    """Differences with their verdicts, a row each."""
    rows = []
    for measure, differences in found.items():
        for name, each in differences.items():
            ends = " to ".join(text(end, measure, signed=True) for end in (each.low, each.high))
            around = f" ({ends})" if math.isfinite(each.low) else ""
            mean = text(each.mean, measure, signed=True)
            rows.append((name, MEASURES[measure].title, f"{mean}{around}", each.verdict))
    return Table((f"against {reference}", "measure", "difference (95 % interval)", "verdict"), rows)


def draw_compared(found: ByMeasure, reference: str) -> Drawing:
    """Differences with their intervals, a panel a measure."""
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    figure = Drawing(10, 1.2 + 0.5 * len(names))
    axes = panels(figure, 1, len(found))
    for place, (measure, differences) in zip(axes, found.items(), strict=True):
        for row, name in enumerate(names):
            if name in differences:
                _draw_difference(place, row, differences[name])
        place.axvline(0, color=QUIET, linewidth=1, linestyle="--")
        place.set_title(MEASURES[measure].title)
        place.margins(x=0.15)
        name_rows(place, names if place is axes[0] else [""] * len(names))
    figure.supxlabel(f"difference from {reference}: green is better, red is worse, grey may be chance", fontsize=9.5)
    return figure


def _draw_difference(axes: Axes, row: int, difference: Compared) -> None:
    color = {"better": BEST, "worse": ALARM}.get(difference.verdict, QUIET)
    if math.isfinite(difference.low):
        axes.plot([difference.low, difference.high], [row, row], color=color, linewidth=2.5, solid_capstyle="round")
    axes.plot([difference.mean], [row], "o", color=color, markersize=7)
