"""How the terms of a loss share it, and whether they pull together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hdr_lightning.drawing import COLORS, Drawing, panels, styled
from hdr_lightning.errors import InputError

if TYPE_CHECKING:
    from hdr_lightning.reading.run import RunReading


@dataclass(frozen=True)
class Shares:
    """Shares of terms over a training.

    Attributes:
        terms: their names.
        steps: at which they were measured.
        values: a row a term, a number a step; they add up to 1.
    """

    terms: Sequence[str]
    steps: Sequence[int]
    values: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Cosines:
    """Cosines between the gradients of terms: 1 pulls the same way, 0 apart, below 0 against each other.

    Attributes:
        terms: their names.
        values: over the training, by two terms in the order of `terms`.
    """

    terms: Sequence[str]
    values: Mapping[tuple[str, str], Sequence[float]]

    def mean(self, one: str, other: str) -> float:
        """Over the training; not a number where no step knows it, 1 of a term with itself."""
        if one == other:
            return 1.0
        found = self.values.get((one, other)) or self.values.get((other, one))
        known = [] if found is None else [value for value in found if np.isfinite(value)]
        return float(np.mean(known)) if known else float("nan")


@styled
def draw_shares(run: "RunReading") -> Drawing:
    """Draw each term's share of the loss and of the gradient over the steps, stacked.

    Args:
        run: what to draw.

    Raises:
        InputError: if it has not logged them.
    """
    given = {"share of the loss": run.shares, "share of the gradient": run.gradient_shares}
    found = {title: shares for title, shares in given.items() if shares is not None}
    if not found:
        raise _missing(run)
    figure = Drawing(9, 2.9)
    axes = panels(figure, 1, len(found))
    for place, (title, shares) in zip(axes, found.items(), strict=True):
        steps, values = list(shares.steps), np.asarray(shares.values)
        if len(steps) == 1:  # an area needs a width
            steps, values = [steps[0], steps[0] + 1], values.repeat(2, axis=1)
        colors = [COLORS[index % len(COLORS)] for index in range(len(shares.terms))]
        place.stackplot(steps, values, labels=shares.terms, colors=colors, alpha=0.85, linewidth=0)
        place.set(title=title, xlabel="step", ylim=(0, 1), xlim=(steps[0], steps[-1]))
        place.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center")
    return figure


@styled
def draw_cosines(run: "RunReading") -> Drawing:
    """Draw the mean cosine between the gradients of each two terms as a heat map.

    Args:
        run: what to draw.

    Raises:
        InputError: if it has not logged them.
    """
    if run.cosines is None:
        raise _missing(run)
    terms = list(run.cosines.terms)
    values = np.array([[run.cosines.mean(row, column) for column in terms] for row in terms])
    side = 1.8 + 0.62 * len(terms)
    figure = Drawing(side + 1.6, side)
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1)
    axes.set_xticks(range(len(terms)), terms, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(terms)), terms)
    axes.set_title("do the terms pull together?")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="w" if abs(value) > 0.6 else "k")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["against", "apart", "together"])
    return figure


def _missing(run: "RunReading") -> InputError:
    return InputError(
        f"{run.folder} has logged no shares of terms: a loss with two terms or more logs them every "
        "--loss_shares.every_n_steps steps, if that is not 0"
    )
