"""What befalls a run: given to it by `--trainer.callbacks`, so it may import nothing of the tests."""

import os

from lightning import Callback


class Leave(Callback):
    """Send this process a signal (SIGUSR1) after so many optimiser steps, once."""

    def __init__(self, steps: int, number: int = 10, validating: bool = False) -> None:
        self.steps = steps
        self.number = number
        self.validating = validating
        self._sent = False

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._send(trainer, not self.validating)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self._send(trainer, self.validating)

    def _send(self, trainer, now):
        if now and trainer.global_step == self.steps and not self._sent and not trainer.sanity_checking:
            self._sent = True
            os.kill(os.getpid(), self.number)


class LeaveOnOne(Leave):
    """The same, on the second of two processes alone."""

    def _send(self, trainer, now):
        super()._send(trainer, now and trainer.global_rank == 1)


class Seen(Callback):
    """Write down which pairs are trained on."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        with open(os.environ["SEEN"], "a") as file:  # noqa: PTH123
            file.writelines(f"{trainer.current_epoch} {name}\n" for name in batch.name)


class Spike(Callback):
    """Multiply the gradient at some steps."""

    def __init__(self, steps: list[int], factor: float) -> None:
        self.steps = steps
        self.factor = factor

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step in self.steps:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self.factor)
