"""A device that waits for data."""

import time
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least, due
from hdr_lightning.data.pairs import EpochLoader


class StarvedDevice(Flag):
    """Training waits for the loader for too much of its time; logs the share as `system/waiting_share`.

    The first batch of an epoch, for which workers start, does not count; of several ranks the worst does.

    Args:
        limit: share of the time, 0 to 1.
        every_n_steps: batches over which it is taken.
        looks: in a row that show it.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("row",)

    def __init__(self, limit: float = 0.3, every_n_steps: int = 50, looks: int = 2, action: Action = "warn") -> None:
        super().__init__(action)
        at_least(self, 0, limit=limit)
        at_least(self, 1, every_n_steps=every_n_steps, looks=looks)
        self.limit = limit
        self.every_n_steps = every_n_steps
        self.looks = looks
        self.row = 0
        self._began = self._waited = self._busy = self._heard = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        loader = trainer.train_dataloader
        waited = loader.waited if isinstance(loader, EpochLoader) else 0.0
        if batch_idx:
            self._waited += max(waited - self._heard, 0.0)
        self._heard = waited
        self._began = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._busy += time.monotonic() - self._began
        if not due(trainer, self.every_n_steps):
            return
        share = torch.tensor(self._waited / max(self._waited + self._busy, 1e-9), device=pl_module.device)
        self._waited = self._busy = 0.0
        worst = trainer.strategy.reduce(share, reduce_op="max")
        assert isinstance(worst, Tensor)
        pl_module.log("system/waiting_share", worst, rank_zero_only=True)
        self.row = self.row + 1 if worst > self.limit else 0
        sign = None
        if self.row >= self.looks:
            sign = Sign(
                f"{worst.item():.0%} of the time of training is spent waiting for the loader",
                "photos that are decoded anew in every epoch, or too few processes that do it",
                "--data.cache=FOLDER with --data.resize, more --data.workers; `benchmark-data` measures them",
            )
        self.tell(trainer, sign)
