"""What an ablation found: points with their seeds, differences from the reference, cost beside quality."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from hdr_lightning.errors import InputError
from hdr_lightning.progress import duration
from hdr_lightning.reading.comparison import (
    ByMeasure,
    Compared,
    choose_measures,
    compared_table,
    draw_compared,
    judged,
    name_rows,
)
from hdr_lightning.reading.drawing import COLORS, QUIET, Drawing, panels, styled
from hdr_lightning.reading.outcome import Ablation, Point
from hdr_lightning.reading.table import Table


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
    name_rows(axes, [point.name for point in outcome.points])
    axes.set(xlabel=outcome.metric, title="each seed, the mean, and its 95 % interval")
    return figure


@styled
def draw_gains(outcome: Ablation, measures: Sequence[str] = ()) -> Drawing:
    """Draw how far every point is from the reference, over photos and seeds: the mean and its 95 % interval.

    Args:
        outcome: of an ablation.
        measures: which; PSNR of the photo, inside and outside of windows if nothing is given.

    Raises:
        InputError: if nothing was compared, or a measure is not there.
    """
    return draw_compared(_gains(outcome, measures), outcome.reference)


@styled
def draw_cost(outcome: Ablation) -> Drawing:
    """Draw the metric over the cost: seconds of training and operations of the network, where points differ in them.

    Args:
        outcome: of an ablation.

    Raises:
        InputError: if neither is known.
    """
    costs = {
        "seconds of a training": [(point, point.seconds) for point in outcome.points],
        "GMAC a megapixel": [(point, _gmacs(point)) for point in outcome.points],
    }
    known = {title: [(p, cost) for p, cost in each if cost is not None] for title, each in costs.items()}
    known = {title: each for title, each in known.items() if each}
    telling = {title: each for title, each in known.items() if len({cost for _, cost in each}) > 1}
    known = telling or dict(list(known.items())[:1])
    if not known:
        raise InputError("nothing is known of what the points cost: train them with `ablate` to the end")
    figure = Drawing(9, 3.4)
    axes = panels(figure, 1, len(known))
    for place, (title, each) in zip(axes, known.items(), strict=True):
        _draw_cost(place, each)
        place.set_xlabel(title)
    axes[0].set_ylabel(outcome.metric)
    return figure


def gains_table(outcome: Ablation, measures: Sequence[str] = ()) -> Table:
    """Tabulate how far every point is from the reference, over photos and seeds, and whether that may be chance.

    Args:
        outcome: of an ablation.
        measures: which; PSNR of the photo, inside and outside of windows if nothing is given.

    Raises:
        InputError: if nothing was compared, or a measure is not there.
    """
    return compared_table(_gains(outcome, measures), outcome.reference)


def cost_table(outcome: Ablation) -> Table:
    """Tabulate the metric of every point beside its cost.

    Args:
        outcome: of an ablation.
    """
    head = ("point", f"{outcome.metric} (95 % interval)", "parameters", "GMAC a megapixel", "steps", "a training")
    return Table(head, [_row(point) for point in outcome.points])


def _row(point: Point) -> tuple[str, ...]:
    spread = f"{point.low:.3f} to {point.high:.3f}" if math.isfinite(point.low) else "one seed"
    parameters = "" if point.cost is None else f"{point.cost.parameters:,}"
    macs = _gmacs(point)
    steps = "" if point.steps is None else str(point.steps)
    took = "" if point.seconds is None else duration(point.seconds)
    return point.name, f"{point.mean:.3f} ({spread})", parameters, "" if macs is None else f"{macs:.3g}", steps, took


def _gains(outcome: Ablation, measures: Sequence[str]) -> ByMeasure:
    others = [point for point in outcome.points if point.differences]
    if not others:
        raise InputError(f"nothing was compared with {outcome.reference}: an ablation needs two points or more")
    chosen = choose_measures(measures, list(others[0].differences))
    return {
        measure: {
            point.name: Compared(
                gain.mean,
                gain.low,
                gain.high,
                judged(gain.mean, measure, gain.verdict == "significant", gain.verdict),
            )
            for point in others
            if (gain := point.differences.get(measure)) is not None
        }
        for measure in chosen
    }


def _gmacs(point: Point) -> float | None:
    if point.cost is None:
        return None
    height, width = point.cost.size
    return point.cost.macs / 1e3 / (height * width)


def _draw_cost(axes: Axes, found: Sequence[tuple[Point, float]]) -> None:
    for index, (point, cost) in enumerate(found):
        color = COLORS[index % len(COLORS)]
        if math.isfinite(point.low):
            axes.plot([cost, cost], [point.low, point.high], color=color, linewidth=3, alpha=0.3)
        axes.plot([cost], [point.mean], "o", color=color, markersize=8)
        axes.annotate(point.name, (cost, point.mean), (8, 5), textcoords="offset points", fontsize=8.5)
    axes.margins(x=0.25, y=0.15)
