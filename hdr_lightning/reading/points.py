"""What an ablation found: differences of points from the reference, cost beside quality."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from hdr_lightning.ablation.outcome import Outcome, PointOutcome
from hdr_lightning.ablation.tables import compared, costs
from hdr_lightning.drawing import COLORS, Drawing, panels, styled
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.score import macs_per_megapixel
from hdr_lightning.reading.comparison import (
    ByMeasure,
    Compared,
    choose_measures,
    compared_table,
    draw_compared,
)
from hdr_lightning.reading.table import Table


@styled
def draw_gains(outcome: Outcome, measures: Sequence[str] = ()) -> Drawing:
    """Draw how far every point is from the reference, over photos and seeds: the mean and its 95 % interval.

    Args:
        outcome: of an ablation.
        measures: which; PSNR of the photo, inside and outside of windows if nothing is given.

    Raises:
        InputError: if nothing was compared, or a measure is not there.
    """
    return draw_compared(_gains(outcome, measures), outcome.reference)


@styled
def draw_cost(outcome: Outcome) -> Drawing:
    """Draw the metric over the cost: seconds of training and operations of the network, where points differ in them.

    Args:
        outcome: of an ablation.

    Raises:
        InputError: if neither is known.
    """
    trained = [point for point in outcome.points if point.values]
    spent: dict[str, list[tuple[PointOutcome, float | None]]] = {
        "seconds of a training": [(point, point.seconds) for point in trained],
        "GMAC a megapixel": [(p, None if p.cost is None else macs_per_megapixel(p.cost) / 1e9) for p in trained],
    }
    known = {title: [(p, cost) for p, cost in each if cost is not None] for title, each in spent.items()}
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


def gains_table(outcome: Outcome, measures: Sequence[str] = ()) -> Table:
    """Tabulate how far every point is from the reference, over photos and seeds, and whether that may be chance.

    Args:
        outcome: of an ablation.
        measures: which; PSNR of the photo, inside and outside of windows if nothing is given.

    Raises:
        InputError: if nothing was compared, or a measure is not there.
    """
    return compared_table(_gains(outcome, measures), outcome.reference)


def cost_table(outcome: Outcome) -> Table:
    """Tabulate the metric of every point beside its cost.

    Args:
        outcome: of an ablation.
    """
    heads, rows = costs(outcome)
    metrics, points = compared(outcome)
    return Table([heads[0], metrics[2], *heads[1:]], [[r[0], p[2], *r[1:]] for r, p in zip(rows, points, strict=True)])


def _gains(outcome: Outcome, measures: Sequence[str]) -> ByMeasure:
    others = [point for point in outcome.points if point.differences]
    if not others:
        raise InputError(f"nothing was compared with {outcome.reference}: an ablation needs two points or more")
    chosen = choose_measures(measures, list(others[0].differences))
    return {
        measure: {
            point.name: Compared(gain.mean, gain.low, gain.high, outcome.verdict(point, measure))
            for point in others
            if (gain := point.differences.get(measure)) is not None
        }
        for measure in chosen
    }


def _draw_cost(axes: Axes, found: Sequence[tuple[PointOutcome, float]]) -> None:
    for index, (point, cost) in enumerate(found):
        color = COLORS[index % len(COLORS)]
        if math.isfinite(point.low):
            axes.plot([cost, cost], [point.low, point.high], color=color, linewidth=3, alpha=0.3)
        axes.plot([cost], [point.mean], "o", color=color, markersize=8)
        aside = (8, -13 if index % 2 else 5)  # of two that are close, one above and one below
        axes.annotate(point.name, (cost, point.mean), aside, textcoords="offset points", fontsize=8.5)
    axes.margins(x=0.25, y=0.15)
