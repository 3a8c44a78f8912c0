"""A loss composed of weighted terms that keeps an eye on the size of each."""

from typing import NamedTuple

import torch
from torch import nn

from hdr_lightning.errors import InputError
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar


class Loss(NamedTuple):
    """A loss and what it is made of.

    Attributes:
        total: sum of the parts.
        parts: weighted value of each term.
    """

    total: Scalar
    parts: dict[str, Scalar]


class CompositeLoss(nn.Module):
    """Weighted sum of terms, computed in float32 whatever the precision of the training.

    In training it remembers the largest weighted value of each term since the last look, on the device and without
    waiting for it; `callbacks.ScaleGuard` looks, and stops a run whose term passed its ceiling.

    Args:
        terms: terms by name. The name is that of the curve in the log, and the key by which one setting is overridden:
            `--model.loss.init_args.terms.window.init_args.weight=0.5`.

    Raises:
        InputError: if there are no terms, or a name is taken.
    """

    def __init__(self, terms: dict[str, LossTerm]) -> None:
        super().__init__()
        if not terms:
            raise InputError("the loss has no terms: give at least one under model.loss.init_args.terms")
        if "loss" in terms:
            raise InputError('no term may be called "loss", which is the name of the total: rename it')
        self.terms = nn.ModuleDict(terms)
        # A plain attribute: DDP would overwrite a buffer with that of rank 0, and lose the peak of another rank.
        self._peaks: torch.Tensor | None = None

    def forward(self, prediction: Pictures, target: Pictures, source: Pictures) -> Loss:
        """Compare predictions with targets; see `LossTerm.measure`."""
        with torch.autocast(prediction.device.type, enabled=False):
            pictures = (prediction.float(), target.float(), source.float())
            parts = {name: term.weight * term.measure(*pictures) for name, term in self._items()}
        values = torch.stack(list(parts.values()))
        if self.training:
            now = values.detach()
            self._peaks = now if self._peaks is None else torch.maximum(self._peaks, now)  # NaN stays
        return Loss(values.sum(), parts)

    def _items(self) -> list[tuple[str, LossTerm]]:
        return [(name, term) for name, term in self.terms.items() if isinstance(term, LossTerm)]

    @property
    def ceilings(self) -> dict[str, float]:
        """The weighted size of each term above which it is out of scale."""
        return {name: term.ceiling for name, term in self._items()}

    def take_peaks(self) -> torch.Tensor | None:
        """Give the largest weighted value of each term since the last call, in the order of `ceilings`, and forget it.

        Returns:
            One number a term, on the device of the loss; NaN where a value was; nothing if there was no training step.
        """
        peaks, self._peaks = self._peaks, None
        return peaks
