"""What the check of a loss found: a table, a picture, and reasons to refuse."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SHARE = 0.9
"""Share of the total from which a term starves the others, unless its weight means it to."""


@dataclass
class TermCheck:
    """What was found of a term.

    Attributes:
        name: of the term.
        weight: as configured.
        meant: its weight over the sum of all weights: the share it would have if all terms were of one size.
        value: weighted, mean over the pairs.
        share: of the total.
        gradient: norm of its gradient at the prediction, mean over the pairs.
        gradient_share: of the sum of these.
        rounded: its value where the prediction is computed in the precision of the run.
        worst: the hard case with the largest value.
        worst_value: that value, unweighted.
        starves: whether its share of value or gradient leaves too little to the others.
        failures: what makes it unfit to train on.
        warnings: what is worth knowing.
    """

    name: str
    weight: float
    meant: float
    value: float = math.nan
    share: float = math.nan
    gradient: float = math.nan
    gradient_share: float = math.nan
    rounded: float = math.nan
    worst: str = ""
    worst_value: float = math.nan
    starves: bool = False
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Where its settings are."""
        return f"--model.loss.init_args.terms.{self.name}.init_args"

    @property
    def verdict(self) -> str:
        """One word."""
        return "FAILS" if self.failures else "look" if self.warnings else "fine"


@dataclass
class LossCheck:
    """What was found of a loss.

    Attributes:
        terms: a row each.
        cosines: between the gradients of each two terms, mean over the pairs.
        pairs: how many pairs of the run's own were looked at.
        precision: in which the run computes predictions.
        allowed: terms that may fail.
    """

    terms: list[TermCheck]
    cosines: list[list[float]] = field(default_factory=list)
    pairs: int = 0
    precision: str = "32-true"
    allowed: list[str] = field(default_factory=list)

    @property
    def refusals(self) -> list[str]:
        """Why the loss is not to be trained on; empty if it may."""
        return [
            f'the loss term "{term.name}" {failure}'
            for term in self.terms
            for failure in term.failures
            if term.name not in self.allowed
        ]

    def __str__(self) -> str:
        width = max(4, *(len(term.name) for term in self.terms))
        head = (
            f"{'term':<{width}}  {'weight':>8}  {'value':>9}  {'share':>6}  {'gradient':>9}  {'share':>6}  "
            f"{'in ' + self.precision:>13}  {'worst case':>26}  verdict"
        )
        lines = [f"the loss on {self.pairs} pairs of the run and on hard pictures", head]
        lines += [
            f"{t.name:<{width}}  {t.weight:>8.4g}  {t.value:>9.4g}  {t.share:>6.1%}  {t.gradient:>9.3g}  "
            f"{t.gradient_share:>6.1%}  {t.rounded:>13.4g}  {f'{t.worst} {t.worst_value:.3g}':>26}  {t.verdict}"
            for t in self.terms
        ]
        if len(self.terms) > 1 and self.cosines:
            lines += ["", "cosine between the gradients", " " * width + "".join(f"  {t.name:>9.9}" for t in self.terms)]
            lines += [
                f"{t.name:<{width}}" + "".join(f"  {cosine:>9.2f}" for cosine in row)
                for t, row in zip(self.terms, self.cosines, strict=True)
            ]
        notes = [(t.name, note) for t in self.terms for note in (*t.failures, *t.warnings)]
        return "\n".join([*lines, *([""] if notes else []), *(f'"{name}" {note}' for name, note in notes)])

    def save(self, folder: Path) -> None:
        """Write `loss_check.json` and the picture `loss_check.png`."""
        content = json.dumps(_plain({**asdict(self), "refusals": self.refusals}), indent=1)
        (folder / "loss_check.json").write_text(content, encoding="utf-8")
        if self.cosines:
            self._draw(folder / "loss_check.png")

    def _draw(self, path: Path) -> None:
        from matplotlib.figure import Figure

        names = [term.name for term in self.terms]
        figure = Figure(figsize=(5 + 1.1 * len(names), 1.6 + 0.5 * len(names)), layout="constrained")
        bars, matrix = figure.subplots(1, 2)
        for offset, (label, color, values) in enumerate(
            (
                ("meant", "#c9ced6", [term.meant for term in self.terms]),
                ("of the value", "#3b75af", [term.share for term in self.terms]),
                ("of the gradient", "#ef8636", [term.gradient_share for term in self.terms]),
            )
        ):
            places = [row + 0.27 * (offset - 1) for row in range(len(names))]
            bars.barh(places, values, height=0.25, label=label, color=color)
        bars.axvline(SHARE, color="#c03d3e", linewidth=1, linestyle="--")
        bars.set(xlim=(0, 1), yticks=range(len(names)), title="share of each term")
        bars.set_yticklabels([f"{term.name} ({term.verdict})" if term.failures else term.name for term in self.terms])
        bars.invert_yaxis()
        bars.legend(fontsize=8, frameon=False)
        matrix.imshow(self.cosines, cmap="RdBu", vmin=-1, vmax=1)
        matrix.set(xticks=range(len(names)), yticks=range(len(names)), title="cosine between the gradients")
        matrix.set_xticklabels(names, rotation=45, ha="right", fontsize=8)
        matrix.set_yticklabels(names, fontsize=8)
        for row, values in enumerate(self.cosines):
            for column, value in enumerate(values):
                light = "white" if abs(value) > 0.6 else "black"
                matrix.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=light)
        figure.savefig(path, dpi=110)


def _plain(value: Any) -> Any:
    """The same for JSON, which has no numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
