"""Pictures of an outcome: points with the dots of their seeds, and the course of a search."""

import math
from itertools import accumulate

from matplotlib.ticker import MaxNLocator

from hdr_lightning.ablation.outcome import Outcome
from hdr_lightning.drawing import BEST, COLORS, QUIET, Drawing, name_rows, styled


@styled
def draw_points(outcome: Outcome) -> Drawing:
    """Draw the metric of every point: a dot a seed, the mean, and its 95 % interval over seeds.

    Args:
        outcome: of an ablation.
    """
    points = [point for point in outcome.points if point.values]
    figure = Drawing(9, 1.1 + 0.5 * len(points))
    axes = figure.add_subplot()
    for row, point in enumerate(points):
        color = QUIET if point.name == outcome.reference else COLORS[0]
        if math.isfinite(point.low):
            axes.plot([point.low, point.high], [row, row], color=color, linewidth=6, alpha=0.3, solid_capstyle="round")
        values = list(point.values.values())
        axes.plot(values, [row] * len(values), "o", color=color, markersize=6, alpha=0.8, markeredgewidth=0)
        axes.plot([point.mean], [row], "|", color=color, markersize=18, markeredgewidth=2.5)
        if point.name == outcome.reference:
            axes.axvline(point.mean, color=QUIET, linestyle="--", linewidth=1)
    name_rows(axes, [point.name for point in points])
    axes.set(xlabel=outcome.metric, title="each seed, the mean, and its 95 % interval")
    return figure


@styled
def draw_search(outcome: Outcome) -> Drawing:
    """Draw the metric of each point of a search in the order of their numbers, and the best so far.

    Args:
        outcome: of an ablation with `search`.
    """
    numbers, values = zip(*outcome.searched, strict=True)
    figure = Drawing(9, 3.4)
    axes = figure.add_subplot()
    axes.plot(numbers, values, "o", markersize=5, markeredgewidth=0)
    axes.step(numbers, list(accumulate(values, max if outcome.maximise else min)), where="post", color=BEST)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="point of the search", ylabel=outcome.metric, title="each point, and the best so far")
    return figure
