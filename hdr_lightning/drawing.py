"""How figures look, and how a notebook shows them."""

import io
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

F = TypeVar("F", bound=Callable[..., Any])

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#6b6b6b")
"""Told apart without seeing red and green (Okabe and Ito, 2008), without its black and yellow."""

TRAIN, VALIDATION, BEST, ALARM, QUIET = "#8fb8d8", "#d55e00", "#009e73", "#b2182b", "#808080"

STYLE: Any = {  # keys of matplotlib
    "axes.axisbelow": True,
    "axes.edgecolor": "#808080",
    "axes.grid": True,
    "axes.prop_cycle": f"cycler('color', {list(COLORS)})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.size": 9.5,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "hdr_lightning",  # the same names of parts every time
    "text.parse_math": False,  # names are what they are
    "xtick.color": "#505050",
    "ytick.color": "#505050",
}

NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""What an SVG says of how it was made: it would differ from version to version."""


class Drawing(Figure):
    """A figure of matplotlib that notebooks show by themselves, whatever their backend.

    Args:
        width: in inches.
        height: likewise.
        photographic: whether it shows photos, which a notebook keeps as JPEG.
    """

    def __init__(self, width: float, height: float, photographic: bool = False) -> None:
        super().__init__(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(self)
        self.photographic = photographic

    def svg(self) -> bytes:
        """The drawing as a file that says nothing of when and with what it was made."""
        return self._encoded("svg", metadata=NOTHING)

    def _repr_png_(self) -> bytes | None:
        return None if self.photographic else self._encoded("png")

    def _repr_jpeg_(self) -> bytes | None:
        return self._encoded("jpeg", pil_kwargs={"quality": 85}) if self.photographic else None

    def _encoded(self, kind: str, **options: Any) -> bytes:
        out = io.BytesIO()
        with rc_context(STYLE):
            self.savefig(out, format=kind, dpi=100, **options)
        return out.getvalue()


def styled(draw: F) -> F:
    """Let a function draw in our style, without changing that of the user's own figures."""
    return rc_context(STYLE)(draw)


def panels(figure: Drawing, rows: int, columns: int, one_axis: bool = False) -> list[Axes]:
    """Divide a figure, row by row; perhaps with one horizontal axis for all."""
    axes = figure.subplots(rows, columns, squeeze=False, sharex=one_axis)
    return list(axes.flat)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name rows from above, as in a table."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
