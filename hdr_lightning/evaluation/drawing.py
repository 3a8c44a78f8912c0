"""The Pareto picture: quality over cost, with the front of those that none beats in both."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from hdr_lightning.drawing import NOTHING

INK = "#123456"
"""Stands for the colour of text, which an SVG leaves to the page."""

FRONT, OTHER = "#e07b00", "#2f7ed8"
"""Seen on white and on black alike."""

STYLE = (
    "<style>svg.pareto{max-width:100%;height:auto}svg.pareto:root{color:#1b1b1b}"
    "@media (prefers-color-scheme:dark){svg.pareto:root{color:#e8e8e8;background:#16181b}}</style>"
)

OFFSETS = [(8, 6), (8, -13), (-8, 6), (-8, -13), (0, 12), (0, -19), (8, 20), (8, -27), (-8, 20), (-8, -27)]
"""Where a name may stand beside its mark, in points, best first; farther ones follow."""

FAR = 20
"""Points from a mark to its name from which on a line joins them."""


class Mark(NamedTuple):
    """A network in the picture.

    Attributes:
        name: what is written beside it.
        cost: GMAC a megapixel.
        quality: in [0, 1].
        score: of both.
    """

    name: str
    cost: float
    quality: float
    score: float


def front(marks: Sequence[Mark]) -> list[Mark]:
    """Those that no other beats in both cost and quality, cheapest first."""
    best: list[Mark] = []
    for mark in sorted(marks, key=lambda each: (each.cost, -each.quality)):
        if not best or mark.quality > best[-1].quality:
            best.append(mark)
    return best


def draw(marks: Sequence[Mark], untouched: float | None, kind: Literal["svg", "png"]) -> bytes:
    """Draw the picture.

    Args:
        marks: the networks.
        untouched: quality of the sources as they are.
        kind: the format: SVG takes its colours from the page, PNG is on white.
    """
    ink = INK if kind == "svg" else "#1b1b1b"
    settings: Any = {  # keys of matplotlib
        "svg.hashsalt": "hdr_lightning",  # the same names of parts every time
        "svg.fonttype": "none",
        "text.parse_math": False,  # names are what they are
        **{f"{part}.color": ink for part in ("text", "xtick", "ytick")},
        "axes.labelcolor": ink,
        "axes.edgecolor": ink,
    }
    with rc_context(settings):
        figure = Figure(figsize=(8, 5), layout="constrained", facecolor="none" if kind == "svg" else "white")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(facecolor="none")
        _plot(axes, marks, untouched, ink)
        figure.draw_without_rendering()  # the layout is done now
        figure.set_layout_engine("none")
        _name_all(axes, marks, ink)
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=150, metadata=NOTHING if kind == "svg" else None)
    return out.getvalue() if kind == "png" else _for_pages(out.getvalue().decode()).encode()


def _plot(axes: Axes, marks: Sequence[Mark], untouched: float | None, ink: str) -> None:
    best = front(marks)
    others = [mark for mark in marks if mark not in best]
    axes.set_xscale("log")
    axes.plot([m.cost for m in best], [m.quality for m in best], "-", color=FRONT, linewidth=1.5, zorder=2)
    for each, color in ((best, FRONT), (others, OTHER)):
        axes.plot([m.cost for m in each], [m.quality for m in each], "o", color=color, markersize=7, zorder=3)
    if untouched is not None:
        axes.axhline(untouched, color=ink, linewidth=1, linestyle=":", zorder=1)
        place = ((0.995, untouched), axes.get_yaxis_transform())
        axes.text(*place[0], "untouched", transform=place[1], ha="right", va="bottom", fontsize=8, gid="untouched")
    costs = [mark.cost for mark in marks]
    axes.set_xlim(min(costs) / 2, max(costs) * 2)  # names need room
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.15)
    axes.set_xlabel("cost: GMAC a megapixel (less is better)")
    axes.set_ylabel("quality (more is better)")
    axes.grid(color="#808080", alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _name_all(axes: Axes, marks: Sequence[Mark], ink: str) -> None:
    """Write the names where they cover neither a mark nor another name, with a line where that is far away."""
    window = axes.get_window_extent()
    points = axes.transData.transform([(mark.cost, mark.quality) for mark in marks])
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in points]
    taken += [text.get_window_extent() for text in axes.texts]
    for mark in sorted(marks, key=lambda each: -each.score):
        place = (mark.cost, mark.quality)
        name = axes.annotate(
            f"{mark.name}  {mark.score:.3f}", place, (0, 0), textcoords="offset points", fontsize=9, color=ink, zorder=4
        )
        for x, y in _places():
            name.set_position((x, y))
            name.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
            box = name.get_window_extent()
            inside = window.x0 <= box.x0 and box.x1 <= window.x1 and window.y0 <= box.y0 and box.y1 <= window.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(name.get_window_extent())
        if abs(y) >= FAR:
            line = {"arrowstyle": "-", "color": "#808080", "linewidth": 0.6}
            axes.annotate("", place, (x, y), textcoords="offset points", arrowprops=line)


def _places() -> Iterator[tuple[int, int]]:
    yield from OFFSETS
    for step in range(3, 40):
        for side in (8, -8, 0):
            yield side, 13 * step
            yield side, -13 * step


def _for_pages(svg: str) -> str:
    """Leave the colour of text to the page, and its scheme to whoever looks at the file alone."""
    start = svg.index("<svg ")
    svg = svg[start:].replace("<svg ", '<svg class="pareto" role="img" aria-label="quality over cost" ', 1)
    head, rest = svg.split(">", 1)
    rest = rest.replace(">*{stroke", ">svg.pareto *{stroke")  # the page around it has lines of its own
    return f"{head}>{STYLE}{rest}".replace(INK, "currentColor")
