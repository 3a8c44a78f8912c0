"""Numbers of a training that are added up on the device, without waiting for it."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Flag
from hdr_lightning.losses import CompositeLoss


class RunningMean:
    """The mean of what was added since it was last taken, over all ranks; what is not finite is left out."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    @property
    def sums(self) -> list[float]:
        """What was added on this rank, and how many, for a checkpoint; all ranks go on from those of the first."""
        return [0.0, 0.0] if self._sums is None else self._sums.tolist()

    @sums.setter
    def sums(self, sums: list[float]) -> None:
        self._sums = torch.tensor(sums)

    def add(self, value: Tensor) -> None:
        """Add one number."""
        finite = value.isfinite()
        now = torch.stack((value.where(finite, 0).float(), finite.float()))
        self._sums = now if self._sums is None else self._sums.to(now.device) + now

    def take(self, trainer: Trainer) -> float | None:
        """Give the mean and begin anew; nothing where nothing was added. To be called on all ranks alike."""
        sums, self._sums = self._sums, None
        if sums is None:
            sums = torch.zeros(2)
        total, count = summed(trainer, sums.to(trainer.strategy.root_device))
        return total / count if count else None


class LossFlag(Flag):
    """A flag on means of the training loss.

    Args:
        action: `warn` goes on, `stop` ends the run, `off` says nothing.
    """

    def __init__(self, action: Action) -> None:
        super().__init__(action)
        self._mean = RunningMean()

    @property
    def added(self) -> list[float]:
        """Losses since the last mean: their sum and number."""
        return self._mean.sums

    @added.setter
    def added(self, sums: list[float]) -> None:
        self._mean.sums = sums


def summed(trainer: Trainer, values: Tensor) -> list[float]:
    """Add up over all ranks."""
    reduced = trainer.strategy.reduce(values, reduce_op="sum")
    assert isinstance(reduced, Tensor)
    return reduced.tolist()


def loss_of(trainer: Trainer, outputs: Any) -> Tensor:
    """The loss of a training step, which Lightning has divided by the number of batches that it accumulates."""
    loss = outputs["loss"]
    assert isinstance(loss, Tensor)
    return loss.detach() * trainer.accumulate_grad_batches


def weights_of(pl_module: LightningModule) -> list[float]:
    """The weights of the terms as they are now: where they change, losses cannot be compared."""
    loss = pl_module.loss
    assert isinstance(loss, CompositeLoss)
    return [weight * loss.scales.get(name, 1.0) for name, weight in loss.weights.items()]
