"""A learning rate under which nothing is learned."""

import math
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least
from hdr_lightning.sharding import local

LEAST = 1e-9
"""Change of a weight that counts as one; such steps would need a million to be seen."""

SAMPLE = 256
"""Values of a parameter that are compared."""


class DeadRate(Flag):
    """The learning rate is 0, not a number, or so small that an optimiser step changes no weight.

    Args:
        every_n_steps: optimiser steps between looks; each look waits for the device once.
        looks: in a row that show it.
        action: `warn` goes on, `stop` ends the run, `off` says nothing. It stops, unlike the other flags: nothing is
            guessed here, and each further step would be for nothing.

    Raises:
        InputError: if a setting is below 1.
    """

    keeps = ("row",)

    def __init__(self, every_n_steps: int = 50, looks: int = 3, action: Action = "stop") -> None:
        super().__init__(action)
        at_least(self, 1, every_n_steps=every_n_steps, looks=looks)
        self.every_n_steps = every_n_steps
        self.looks = looks
        self.row = 0
        self._before: list[tuple[Tensor, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if (trainer.global_step + 1) % self.every_n_steps == 0:
            given = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            self._before = [(p, _some(p).clone()) for p in given]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        before, self._before = self._before, []
        if not before:
            return
        changed = torch.stack([((_some(p) - values).abs() > LEAST).any() for p, values in before]).any()
        reduced = trainer.strategy.reduce(changed.float(), reduce_op="max")
        rates = [float(group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups]
        finite = all(map(math.isfinite, rates))
        sick = not reduced or not finite or not any(rates)
        self.row = self.row + 1 if sick else 0
        sign = None
        if self.row >= self.looks:
            sign = Sign(
                f"the learning rate is {', '.join(f'{rate:g}' for rate in sorted(set(rates)))} in epoch "
                f"{trainer.current_epoch}" + (f", and no weight changed in {self.row} looks" if finite else ""),
                "a schedule that ends before the run does, or a rate given in another unit",
                "another --model.optimizer.init_args.lr, a schedule over all of trainer.max_epochs, or fewer epochs",
            )
        self.tell(trainer, sign)


def _some(parameter: Tensor) -> Tensor:
    """Values from all over a parameter."""
    flat = local(parameter).flatten()
    return flat[:: max(1, flat.numel() // SAMPLE)]
