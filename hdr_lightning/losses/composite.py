"""A loss composed of weighted terms that keeps an eye on the size of each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar
from hdr_lightning.losses.weighting import Fixed, Ramp, Weighting

TAKEN = {
    "loss",
    "side",
    "gradient_norm",
    "skipped_steps",
    "rollbacks",
    "rate_factor",
    "samples_per_second",
    "peak_memory_gb",
    "waiting_share",
}
"""Names of other curves beside those of the terms."""


class Loss(NamedTuple):
    """A loss and what it is made of.

    Attributes:
        total: sum of the parts, and of what the weighting adds.
        parts: weighted value of each term.
    """

    total: Scalar
    parts: dict[str, Scalar]


class Seen(NamedTuple):
    """Pictures that a loss compared, of which the prediction has no history."""

    prediction: Pictures
    target: Pictures
    source: Pictures


class CompositeLoss(nn.Module):
    """Weighted sum of terms, computed in float32 whatever the precision of the training.

    In training it remembers the largest weighted value of each term since the last look, on the device and without
    waiting for it; `callbacks.ScaleGuard` looks, and deals with a term that passed its ceiling.

    Args:
        terms: terms by name. The name is that of the curve in the log, and the key by which one setting is overridden:
            `--model.loss.init_args.terms.window.init_args.weight=0.5`.
        weighting: what becomes of the weights while it trains; they stay as given if nothing is said.
        ramps: a curriculum for some of the terms, by their name.

    Attributes:
        epoch: from 0, set by the task: the place on the ramps; without one every term has the most it ever gets.
        scales: factors of terms that `callbacks.ScaleGuard` rescaled; 0 for one that it dropped.
        watch: whether to keep the next pictures of the training in `seen`.

    Raises:
        InputError: if there are no terms, a name is taken, or a ramp has no term.
    """

    def __init__(
        self,
        terms: dict[str, LossTerm],
        weighting: Weighting | None = None,
        ramps: dict[str, Ramp] | None = None,
    ) -> None:
        super().__init__()
        if not terms:
            raise InputError("the loss has no terms: give at least one under model.loss.init_args.terms")
        if "loss" in terms:
            raise InputError('no term may be called "loss", which is the name of the total: rename it')
        for name in terms:
            if name in TAKEN or not name.replace("-", "_").isidentifier() or hasattr(nn.ModuleDict, name):
                raise InputError(f'no term may be called "{name}": take letters, digits and _, and no name of our own')
        self.terms = nn.ModuleDict(terms)
        self.weighting = weighting or Fixed()
        self.weighting.bind(len(terms))
        self.ramps = ramps or {}
        for name, ramp in self.ramps.items():
            self.term(name)
            if not ramp.sound:
                raise InputError(f"the ramp of {name} is to have 0 <= start <= end, first and last >= 0, got {ramp}")
        self.epoch: int | None = 0
        self.scales: dict[str, float] = {}
        self.watch = False
        self.seen: Seen | None = None
        # A plain attribute: DDP would overwrite a buffer with that of rank 0, and lose the peak of another rank.
        self._peaks: Tensor | None = None
        self._broken: Tensor | None = None

    def forward(self, prediction: Pictures, target: Pictures, source: Pictures) -> Loss:
        """Compare predictions with targets; see `LossTerm.measure`."""
        with torch.autocast(prediction.device.type, enabled=False):
            pictures = (prediction.float(), target.float(), source.float())
            values = [self._measure(name, *pictures) for name in self.terms]
            weights = {name: weight * self.scales.get(name, 1.0) for name, weight in self.weights.items()}
            active = torch.tensor([float(weight > 0) for weight in weights.values()])
            factors, more = self.weighting(torch.stack(values), active.to(prediction.device, non_blocking=True))
            parts = {  # each with a history of its own, so that one can be broken alone
                name: weight * factor * value
                for (name, weight), factor, value in zip(weights.items(), factors, values, strict=True)
            }
            stacked = torch.stack(list(parts.values()))
        if self.training:
            self.remember(stacked.detach(), Seen(*(picture.detach() for picture in pictures)))
        return Loss(stacked.sum() + more, parts)

    def _measure(self, name: str, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        term = self.term(name)
        if self.scales.get(name) == 0:
            # Not a number times 0 is none either; and DDP wants every parameter used.
            return 0 * torch.stack([prediction.new_zeros(()), *(p.sum() for p in term.parameters())]).sum()
        return term.measure(prediction, target, source)

    def remember(self, now: Float[Tensor, " t"], pictures: Seen) -> None:
        """Keep the largest values so far, and the pictures where they are wanted; without waiting for the device."""
        sound = now.isfinite()
        if self._peaks is None or self._broken is None:
            self._peaks, self._broken = torch.zeros_like(now), torch.zeros_like(sound)
        self._peaks = torch.maximum(self._peaks, now.where(sound, 0))
        self._broken = self._broken | ~sound
        if self.watch:
            self.seen, self.watch = pictures, False

    def _terms(self) -> list[LossTerm]:
        return [term for term in self.terms.values() if isinstance(term, LossTerm)]

    def term(self, name: str) -> LossTerm:
        """A term by its name.

        Raises:
            InputError: if there is none.
        """
        term = dict(self.terms.items()).get(name)
        if not isinstance(term, LossTerm):
            raise InputError(f'the loss has no term "{name}": expected one of {", ".join(self.terms)}')
        return term

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term in this epoch, as configured."""
        return {
            name: term.weight * (self.ramps[name].share(self.epoch) if name in self.ramps else 1.0)
            for name, term in zip(self.terms, self._terms(), strict=True)
        }

    @property
    def ceilings(self) -> dict[str, float]:
        """The weighted size of each term above which it is out of scale."""
        return {name: term.ceiling for name, term in zip(self.terms, self._terms(), strict=True)}

    def rescale(self, name: str, factor: float) -> None:
        """Multiply a term from now on."""
        self.scales[name] = self.scales.get(name, 1.0) * factor

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `progress` gave."""
        self.epoch, self.scales = state["epoch"], dict(state["scales"])

    @property
    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the weights: the place on the ramps, and what was rescaled or dropped."""
        return {"epoch": self.epoch, "scales": dict(self.scales)}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CompositeLoss":
        """Move to a device, but keep float32 where the generator is cast to less."""

        def kept(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved.to(tensor.dtype) if moved.is_floating_point() else moved

        result: CompositeLoss = super()._apply(kept, recurse)  # type: ignore[no-untyped-call]
        return result

    @property
    def peaks(self) -> Float[Tensor, " t"] | None:
        """The largest weighted value of each term since the last look, in the order of `ceilings`.

        One number a term, on the device of the loss; NaN where a value was not finite; nothing before a training step.
        """
        return None if self._peaks is None or self._broken is None else self._peaks.masked_fill(self._broken, torch.nan)

    def recall(self, peaks: Float[Tensor, " t"]) -> None:
        """Go on from the `peaks` of a checkpoint."""
        self._broken = ~peaks.isfinite()
        self._peaks = peaks.where(peaks.isfinite(), 0)

    def take_peaks(self) -> Float[Tensor, " t"] | None:
        """Give `peaks`, and forget them."""
        peaks, self._peaks, self._broken = self.peaks, None, None
        return peaks

    def forgive(self) -> None:
        """Forget which terms were not finite: their step was skipped."""
        if self._broken is not None:
            self._broken = torch.zeros_like(self._broken)
