"""Flags on what the outputs of a validation are like."""

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from lightning import LightningModule, Trainer
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least, training
from hdr_lightning.callbacks.flags.running import summed
from hdr_lightning.data.pairs import Pair
from hdr_lightning.task import Evaluated

FACTS = 4
"""Numbers of each photo that are averaged."""


class OutputFlag(Flag):
    """Means over the photos of a validation, of all ranks, that look sick in several validations in a row.

    Args:
        patience: validations in a row.
        after: optimiser steps before the first of them: an untrained network may make anything.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("row",)

    def __init__(self, patience: int, after: int, action: Action) -> None:
        super().__init__(action)
        at_least(self, 1, patience=patience)
        at_least(self, 0, after=after)
        self.patience = patience
        self.after = after
        self.row = 0
        self._sums: Tensor | None = None

    @abstractmethod
    def facts(self, outputs: Evaluated, batch: Pair) -> Float[Tensor, "photos 4"]:
        """What is averaged, of each photo that counts."""

    @abstractmethod
    def is_sick(self, means: list[float]) -> bool:
        """Whether the means of a validation are a sign of something."""

    @abstractmethod
    def sign(self, means: list[float]) -> Sign:
        """Of what."""

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if training(trainer):
            facts = self.facts(outputs, batch)
            sums = torch.cat((facts.sum(dim=0), facts.new_tensor([len(facts)])))
            self._sums = sums if self._sums is None else self._sums + sums

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not training(trainer):
            return
        sums = torch.zeros(FACTS + 1, device=pl_module.device) if self._sums is None else self._sums
        self._sums = None
        *totals, count = summed(trainer, sums)
        means = [total / max(count, 1) for total in totals]
        sick = self.is_sick(means) and trainer.global_step >= self.after
        self.row = self.row + 1 if sick else 0
        self.tell(trainer, self.sign(means) if self.row >= self.patience else None)


def sound_photos(outputs: Evaluated) -> list[int]:
    """Places in the batch of the photos that could be measured."""
    return [index for index in range(len(outputs["prediction"])) if index not in outputs["faults"]]
