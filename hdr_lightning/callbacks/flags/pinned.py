"""Outputs that lie at the ends of the range."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least, training
from hdr_lightning.callbacks.flags.running import summed
from hdr_lightning.data.pairs import Pair

END = 0.5 / 255
"""What becomes 0 or 255 in a file of 8 bits."""


class Pinned(Flag):
    """Far more values of the outputs than of the targets are at or beyond 0 or 1, over the validation set.

    Args:
        excess: share of all values by which they are more.
        patience: validations in a row.
        after: optimiser steps before the first of them: an untrained network may make anything.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("row",)

    def __init__(self, excess: float = 0.2, patience: int = 2, after: int = 200, action: Action = "warn") -> None:
        super().__init__(action)
        at_least(self, 0, excess=excess)
        at_least(self, 1, patience=patience)
        at_least(self, 0, after=after)
        self.after = after
        self.excess = excess
        self.patience = patience
        self.row = 0
        self._shares: Tensor | None = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not training(trainer):
            return
        made, meant = outputs["prediction"], batch.target
        ends = (made <= END, meant <= END, made >= 1 - END, meant >= 1 - END)
        shares = torch.stack(
            [end.sum() / end[0].numel() for end in ends] + [torch.tensor(len(made), device=made.device)]
        )
        self._shares = shares if self._shares is None else self._shares + shares

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not training(trainer):
            return
        shares = torch.zeros(5, device=pl_module.device) if self._shares is None else self._shares
        self._shares = None
        *sums, count = summed(trainer, shares)
        low, meant_low, high, meant_high = (each / max(count, 1) for each in sums)
        sick = low + high > meant_low + meant_high + self.excess
        self.row = self.row + 1 if sick and trainer.global_step >= self.after else 0
        sign = None
        if self.row >= self.patience:
            sign = Sign(
                f"{low:.0%} of the output's values are 0 or below and {high:.0%} are 1 or above, of the targets' "
                f"{meant_low:.0%} and {meant_high:.0%}",
                "that the last layer has drifted out of range, where clipping hides what it does",
                "a term that sees values out of range (L1), a lower learning rate, or an earlier checkpoint",
            )
        self.tell(trainer, sign)
