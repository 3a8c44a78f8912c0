"""Validation that stands still."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least, training
from hdr_lightning.callbacks.flags.output_flag import sound_photos
from hdr_lightning.data.pairs import Pair
from hdr_lightning.sharding import local

WATCHED = ("val/loss", "val/l1")
FLAT = 1e-3
"""Of values in [0, 1]: a quarter of a step of 8 bits."""


class FrozenValidation(Flag):
    """`val/loss` or `val/l1` stays the same, and why: constant outputs, or weights that do not move.

    The same is one part in a million; one in ten thousand where all pixels or all outputs are alike.

    Args:
        patience: equal validations in a row.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if `patience` is below 2.
    """

    keeps = ("row", "first", "weights")

    def __init__(self, patience: int = 3, action: Action = "warn") -> None:
        super().__init__(action)
        at_least(self, 2, patience=patience)
        self.patience = patience
        self.row = 0
        self.first: dict[str, float] = {}
        self.weights: list[float] = []
        self._largest: Tensor | None = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        sound = sound_photos(outputs)
        if not training(trainer) or not sound:
            return
        spread, mean = torch.std_mean(outputs["prediction"][sound].clamp(0, 1), dim=(2, 3))
        facts = torch.cat((spread, mean), dim=1)  # six of each photo
        largest = torch.cat((facts, -facts), dim=1).amax(dim=0)
        self._largest = largest if self._largest is None else self._largest.maximum(largest)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not training(trainer):
            return
        moved = self._moved(pl_module)
        largest = self._largest if self._largest is not None else torch.full((12,), -torch.inf, device=moved.device)
        self._largest = None
        reduced = trainer.strategy.reduce(torch.cat((largest, moved)), reduce_op="max")
        assert isinstance(reduced, Tensor)
        flat = bool((reduced[:3] < FLAT).all())
        alike = bool((reduced[:6] + reduced[6:12] < FLAT).all())  # the largest less the smallest
        now = {name: trainer.callback_metrics[name].item() for name in WATCHED if name in trainer.callback_metrics}
        tolerance = 1e-4 if flat or alike else 1e-6
        same = [name for name, value in now.items() if _same(value, self.first.get(name, torch.nan), tolerance)]
        self.row, self.first = (self.row + 1, self.first) if same else (1, now)
        sign = _sign(same, now, self.row, bool(reduced[12]), flat, alike) if self.row >= self.patience else None
        self.tell(trainer, sign)

    def _moved(self, pl_module: LightningModule) -> Tensor:
        """Whether a weight of this rank changed since the last validation: 1, else 0."""
        held = [local(p) for p in pl_module.parameters() if p.requires_grad]
        before, self.weights = self.weights, torch.stack([p.float().sum() for p in held]).tolist()
        return torch.tensor([float(before != self.weights)], device=pl_module.device)


def _same(value: float, first: float, tolerance: float) -> bool:
    return abs(value - first) <= tolerance * abs(first)


def _sign(same: list[str], now: dict[str, float], row: int, moved: bool, flat: bool, alike: bool) -> Sign:
    seen = f"{' and '.join(f'{name} {now[name]:.5g}' for name in same)} for {row} validations"
    if not moved:
        return Sign(
            f"{seen}, and the weights do not move",
            "a learning rate of 0 or next to it, or that every parameter is frozen",
            "another --model.optimizer.init_args.lr, and look at model.schedule",
        )
    if flat or alike:
        what = "every output is one flat colour" if flat else "the generator gives the same for every photo"
        return Sign(
            f"{seen}, and the outputs are constant: {what}",
            "a collapse: dead activations, or a loss that is least for a mean picture",
            "a lower learning rate, a longer warm-up, `check-loss`, and a start from an earlier checkpoint",
        )
    return Sign(
        f"{seen}, though outputs differ between photos and the weights move",
        "that what trains does not reach the output (a part scaled by 0), or that outputs are clipped to [0, 1]",
        "looking at pictures/, and flags.pinned and flags.gradient_size",
    )
