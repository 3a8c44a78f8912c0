"""What an ablation or evaluation found: points with their intervals, paired differences, cost beside quality."""

import math
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axes import Axes

from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.evaluation.statistics import Difference, compare_contenders
from hdr_lightning.reading.drawing import ALARM, BEST, COLORS, QUIET, Drawing, panels, styled
from hdr_lightning.reading.outcome import Ablation, Point
from hdr_lightning.reading.table import Table
from hdr_lightning.report.summary import chance, interval, summary, text

SIGNIFICANT = 0.05
"""Largest p, corrected for several comparisons, at which a difference counts."""

QUESTIONS = ("psnr", "psnr_inside", "psnr_outside")
"""Measures that are compared where none are named, those that are there."""


@styled
def draw_points(outcome: Ablation) -> Drawing:
    """Draw the metric of every point: a dot a seed, the mean, and its 95 % interval over seeds.

    Args:
        outcome: of an ablation.
    """
    figure = Drawing(9, 1.1 + 0.5 * len(outcome.points))
    axes = figure.add_subplot()
    for row, point in enumerate(outcome.points):
        color = QUIET if point.name == outcome.reference else COLORS[0]
        if math.isfinite(point.low):
            axes.plot([point.low, point.high], [row, row], color=color, linewidth=6, alpha=0.3, solid_capstyle="round")
        values = list(point.values.values())
        axes.plot(values, [row] * len(values), "o", color=color, markersize=6, alpha=0.8, markeredgewidth=0)
        axes.plot([point.mean], [row], "|", color=color, markersize=18, markeredgewidth=2.5)
        if point.name == outcome.reference:
            axes.axvline(point.mean, color=QUIET, linestyle="--", linewidth=1)
    _name_rows(axes, [point.name for point in outcome.points])
    axes.set(xlabel=outcome.metric, title="each seed, the mean, and its 95 % interval")
    return figure


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
    found = _differences(evaluation, reference, measures)
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    figure = Drawing(10, 1.2 + 0.5 * len(names))
    axes = panels(figure, 1, len(found))
    for place, (measure, differences) in zip(axes, found.items(), strict=True):
        for row, name in enumerate(names):
            if name in differences:
                _draw_difference(place, row, differences[name], measure)
        place.axvline(0, color=QUIET, linewidth=1, linestyle="--")
        place.set_title(MEASURES[measure].title)
        place.margins(x=0.15)
        _name_rows(place, names if place is axes[0] else [""] * len(names))
    figure.supxlabel(f"difference from {reference}, paired by photo", fontsize=9.5)
    return figure


@styled
def draw_cost(outcome: Ablation) -> Drawing:
    """Draw the metric over the cost: seconds of training and, where they were measured, operations of the network.

    Args:
        outcome: of an ablation.
    """
    costs = [point.cost for point in outcome.points]
    figure = Drawing(9, 3.4)
    axes = panels(figure, 1, 2 if any(costs) else 1)
    axes[0].set_xlabel("seconds of a training")
    _draw_cost(axes[0], [(point, point.seconds) for point in outcome.points])
    if any(costs):
        operations = [(point, _gmacs(point)) for point in outcome.points]
        _draw_cost(axes[1], [(point, found) for point, found in operations if found is not None])
        axes[1].set_xlabel("GMAC a megapixel")
    axes[0].set_ylabel(outcome.metric)
    return figure


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
    rows = [
        (name, MEASURES[measure].title, *_cells(each, measure))
        for measure, differences in _differences(evaluation, reference, measures).items()
        for name, each in differences.items()
    ]
    return Table((f"against {reference}", "measure", "difference (95 % interval)", "chance", "verdict"), rows)


def cost_table(outcome: Ablation) -> Table:
    """Tabulate the metric of every point beside its cost.

    Args:
        outcome: of an ablation.
    """
    rows = []
    for point in outcome.points:
        spread = f" ({point.low:.3f} to {point.high:.3f})" if math.isfinite(point.low) else " (one seed)"
        macs = _gmacs(point)
        size = ("", "") if point.cost is None or macs is None else (f"{point.cost.parameters:,}", f"{macs:.3g}")
        rows.append((point.name, f"{point.mean:.3f}{spread}", *size, f"{point.steps}", f"{point.seconds:.0f}"))
    head = ("point", f"{outcome.metric} (95 % interval)", "parameters", "GMAC a megapixel", "steps", "seconds")
    return Table(head, rows)


def _differences(evaluation: Evaluation, reference: str, measures: Sequence[str]) -> dict[str, dict[str, Difference]]:
    """By measure and contender. The untouched sources are left out, as the correction of p counts what is compared."""
    trained = replace(evaluation, contenders=[each for each in evaluation.contenders if each.name != SOURCE])
    names = [each.name for each in trained.contenders]
    if reference not in names or len(names) < 2:
        raise InputError(f"expected {reference!r} and others to compare with it, there is {', '.join(names)}")
    chosen = list(measures) or [each for each in QUESTIONS if each in evaluation.measures] or evaluation.measures[:1]
    missing = [each for each in chosen if each not in evaluation.measures]
    if missing or not chosen:
        raise InputError(f"{', '.join(missing)} was not measured: choose among {', '.join(evaluation.measures)}")
    return {measure: compare_contenders(trained, measure, reference) for measure in chosen}


def _verdict(difference: Difference, measure: str) -> str:
    if difference.p >= SIGNIFICANT:
        return "not significant"
    return "better" if (difference.mean > 0) == (MEASURES[measure].better == "higher") else "worse"


def _cells(difference: Difference, measure: str) -> tuple[str, str, str]:
    ends = (text(end, measure, signed=True) for end in (difference.low, difference.high))
    around = "one scene" if math.isnan(difference.low) else " to ".join(ends)
    mean = f"{text(difference.mean, measure, signed=True)} ({around})"
    return mean, chance(difference.p), _verdict(difference, measure)


def _draw_difference(axes: Axes, row: int, difference: Difference, measure: str) -> None:
    color = {"better": BEST, "worse": ALARM}.get(_verdict(difference, measure), QUIET)
    if math.isfinite(difference.low):
        axes.plot([difference.low, difference.high], [row, row], color=color, linewidth=2.5, solid_capstyle="round")
    axes.plot([difference.mean], [row], "o", color=color, markersize=7)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows from above, as in a table."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _gmacs(point: Point) -> float | None:
    if point.cost is None:
        return None
    height, width = point.cost.size
    return point.cost.macs / 1e3 / (height * width)


def _draw_cost(axes: Axes, found: Sequence[tuple[Point, float]]) -> None:
    for index, (point, cost) in enumerate(found):
        color = COLORS[index % len(COLORS)]
        if math.isfinite(point.low):
            axes.plot([cost, cost], [point.low, point.high], color=color, linewidth=5, alpha=0.3)
        axes.plot([cost], [point.mean], "o", color=color, markersize=8)
        axes.annotate(point.name, (cost, point.mean), (8, 5), textcoords="offset points", fontsize=8.5)
    axes.margins(x=0.25, y=0.15)
