"""The course of a training: curves of train and validation on one axis, the best epoch, the red flags."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hdr_lightning.drawing import ALARM, BEST, COLORS, TRAIN, VALIDATION, Drawing, panels, styled
from hdr_lightning.errors import InputError
from hdr_lightning.reading.names import PANELS
from hdr_lightning.reading.run import Curve, RunReading


@styled
def draw_curves(run: RunReading, chosen: Mapping[str, Sequence[str]] = PANELS) -> Drawing:
    """Draw curves over the steps, one panel a quantity; the best epoch is marked, and where red flags went up.

    Args:
        run: what to draw.
        chosen: names of the curves of a panel, by its title; what was not logged is left out.

    Raises:
        InputError: if none of them was logged.
    """
    found = {title: [run.curves[name] for name in group if name in run.curves] for title, group in chosen.items()}
    found = {title: curves for title, curves in found.items() if curves}
    if not found:
        raise InputError(
            f"{run.folder} has logged none of these curves: choose among {', '.join(run.curves) or 'nothing yet'}"
        )
    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = Drawing(9, 2.4 * rows + 0.4)
    best = run.best if run.validated else None
    axes = panels(figure, rows, columns, one_axis=True)
    for place, (title, curves) in zip(axes, found.items(), strict=False):
        _draw(place, curves)
        place.set_title(title)
        if best is not None:
            place.axvline(best[0], color=BEST, linestyle="--", linewidth=1.2, label=f"best epoch (step {best[0]})")
        _mark(place, sorted({flag.step for flag in run.flags}))
        place.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for empty in axes[len(found) :]:
        empty.set_axis_off()
    labels = dict(each for place in axes for each in zip(*place.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(labels.values(), labels.keys(), loc="outside upper right", ncols=4)
    figure.supxlabel("step", fontsize=9.5)
    return figure


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    for index, curve in enumerate(curves):
        kind = curve.name.partition("/")[0]
        color = {"train": TRAIN, "val": VALIDATION}.get(kind, COLORS[index % len(COLORS)])
        mark = "o" if kind == "val" or len(curve.steps) == 1 else ""
        style = {"train": 1.2, "val": 1.8}.get(kind, 1.4)
        label = {"train": "training", "val": "validation"}.get(kind, curve.name)
        axes.plot(curve.steps, curve.values, color=color, linewidth=style, marker=mark, markersize=4, label=label)


def _mark(axes: Axes, steps: Sequence[int]) -> None:
    """Red flags stand on the upper edge."""
    if steps:
        edge = axes.get_xaxis_transform()
        heights = [1.0] * len(steps)
        axes.plot(steps, heights, "v", color=ALARM, transform=edge, clip_on=False, markersize=7, label="red flag")
