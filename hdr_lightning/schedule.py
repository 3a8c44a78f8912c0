"""Learning rate over the epochs, as a share of the optimiser's rate."""

import math
from abc import ABC, abstractmethod

from hdr_lightning.errors import InputError


class Schedule(ABC):
    """A learning rate that depends on the epoch."""

    @abstractmethod
    def share(self, epoch: int, epochs: int) -> float:
        """Give the share of the optimiser's rate in an epoch.

        Args:
            epoch: from 0.
            epochs: how many the training has; -1 if it has no end.
        """


class Constant(Schedule):
    """The optimiser's rate throughout."""

    def share(self, epoch: int, epochs: int) -> float:
        return 1.0


class WarmupCosine(Schedule):
    """Equal steps up to the full rate, then half a cosine down, whose zero lies one epoch behind the last.

    With the default five epochs and a rate of 2e-4: 4e-5, 8e-5, 1.2e-4, 1.6e-4, 2e-4, then the cosine.

    Args:
        warmup_epochs: epochs on the way up; the last of them has the full rate.

    Raises:
        InputError: if `warmup_epochs` is negative.
    """

    def __init__(self, warmup_epochs: int = 5) -> None:
        if warmup_epochs < 0:
            raise InputError(f"WarmupCosine: warmup_epochs is to be 0 or more, got {warmup_epochs}")
        self.warmup_epochs = warmup_epochs

    def share(self, epoch: int, epochs: int) -> float:
        if epochs < 0:
            raise InputError("WarmupCosine needs the number of epochs: set trainer.max_epochs")
        if epoch < self.warmup_epochs:
            return (epoch + 1) / self.warmup_epochs
        done = (epoch + 1 - self.warmup_epochs) / (epochs + 1 - self.warmup_epochs)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
