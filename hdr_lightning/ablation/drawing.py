"""Pictures of an outcome: points with the dots of their seeds, and the course of a search."""

import io
import math
from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hdr_lightning.ablation.outcome import Outcome
from hdr_lightning.evaluation.drawing import FRONT, NOTHING, OTHER


def draw_points(outcome: Outcome) -> bytes:
    """A line a point: a dot for each seed, their mean and its 95 % interval, and the mean of the reference.

    Returns:
        An SVG.
    """
    points = [point for point in outcome.points if point.values]

    def plot(axes: Axes) -> None:
        for height, point in enumerate(points):
            color = FRONT if point.name == outcome.reference else OTHER
            values = list(point.values.values())
            axes.plot(values, [height] * len(values), "o", color=color, alpha=0.6, markersize=6)
            axes.plot([point.mean], [height], "|", color=color, markersize=18, markeredgewidth=2)
            if not math.isnan(point.low):
                axes.plot([point.low, point.high], [height, height], "-", color=color, linewidth=1.5)
            if point.name == outcome.reference:
                axes.axvline(point.mean, color=FRONT, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(points)), [point.name for point in points])
        axes.set_ylim(len(points) - 0.4, -0.6)  # the first on top
        axes.set_xlabel(f"{outcome.metric}: seeds, mean, 95 % interval")

    return _draw(plot, 1.2 + 0.4 * len(points))


def draw_search(outcome: Outcome) -> bytes:
    """The metric of each point of a search in the order of their numbers, and the best so far.

    Returns:
        An SVG.
    """
    values = outcome.searched
    numbers = [number for number, _ in values]
    best: list[float] = []
    for _, value in values:
        best.append((max if outcome.maximise else min)(value, best[-1]) if best else value)

    def plot(axes: Axes) -> None:
        axes.plot(numbers, [value for _, value in values], "o", color=OTHER, markersize=5)
        axes.step(numbers, best, where="post", color=FRONT, linewidth=1.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("point of the search")
        axes.set_ylabel(outcome.metric)

    return _draw(plot, 4)


def _draw(plot: Callable[[Axes], None], height: float) -> bytes:
    with rc_context({"svg.hashsalt": "hdr_lightning", "svg.fonttype": "none", "text.parse_math": False}):
        figure = Figure(figsize=(8, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        plot(axes)
        axes.grid(axis="x", color="#808080", alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata=NOTHING)
    return out.getvalue()
