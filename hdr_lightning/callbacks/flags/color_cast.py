"""Outputs that have a tint."""

import math
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least, training
from hdr_lightning.callbacks.flags.running import summed
from hdr_lightning.data.pairs import Pair
from hdr_lightning.image.color import lab

SIDE = 256
"""Pixels a side that are looked at, at least: a mean of colours needs no more."""


class ColorCast(Flag):
    """The mean colour of the outputs differs from that of the targets over the validation set, in a and b of CIELAB.

    Only where it differs more than that of the sources does, by 1 or more: most networks begin with their source.

    Args:
        limit: distance in the plane of a and b; 2.3 is just noticed side by side.
        patience: validations in a row.
        after: optimiser steps before the first of them: an untrained network may make anything.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("row",)

    def __init__(self, limit: float = 5.0, patience: int = 3, after: int = 200, action: Action = "warn") -> None:
        super().__init__(action)
        at_least(self, 0, limit=limit)
        at_least(self, 1, patience=patience)
        at_least(self, 0, after=after)
        self.after = after
        self.limit = limit
        self.patience = patience
        self.row = 0
        self._sums: Tensor | None = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        sound = [index for index in range(len(outputs["prediction"])) if index not in outputs["faults"]]
        if not training(trainer) or not sound:
            return
        step = max(1, min(batch.target.shape[-2:]) // SIDE)
        pictures = (outputs["prediction"][sound].clamp(0, 1), batch.target[sound].float(), batch.source[sound].float())
        made, meant, given = (lab(picture[..., ::step, ::step])[:, 1:].mean(dim=(2, 3)) for picture in pictures)
        casts = torch.cat((made - meant, given - meant), dim=1).sum(dim=0)
        sums = torch.cat((casts, casts.new_tensor([len(sound)])))
        self._sums = sums if self._sums is None else self._sums + sums

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not training(trainer):
            return
        sums = torch.zeros(5, device=pl_module.device) if self._sums is None else self._sums
        self._sums = None
        *casts, count = summed(trainer, sums)
        a, b, own_a, own_b = (cast / max(count, 1) for cast in casts)
        sick = math.hypot(a, b) > max(self.limit, math.hypot(own_a, own_b) + 1)
        self.row = self.row + 1 if sick and trainer.global_step >= self.after else 0
        sign = None
        if self.row >= self.patience:
            tint = " and ".join(
                name for name, strong in (("green", -a), ("red", a), ("blue", -b), ("yellow", b)) if strong > 1
            )
            sign = Sign(
                f"the outputs are too {tint} by {abs(a):.1f} in a and {abs(b):.1f} in b of CIELAB, in {self.row} "
                "validations",
                "a loss that does not see colour (luminance alone, or colour with too little weight)",
                "a term such as Lab or Saturation, or more of its weight; and whether the targets are of one look",
            )
        self.tell(trainer, sign)
