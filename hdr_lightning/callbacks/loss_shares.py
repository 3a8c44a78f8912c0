"""Log how the terms of the loss share value and gradient, and whether they pull together."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from hdr_lightning.errors import InputError
from hdr_lightning.losses import CompositeLoss
from hdr_lightning.losses.check import measure_terms


class LossShares(Callback):
    """Every few steps log each term's share of the total and of the gradient, and the cosines between the gradients.

    As `terms/share/NAME`, `terms/gradient_share/NAME` and `terms/cosine/NAME-OTHER`, of the batch of the first process.

    Args:
        every_n_steps: steps between; 0 logs nothing.

    Raises:
        InputError: if it is negative.
    """

    def __init__(self, every_n_steps: int = 200) -> None:
        if every_n_steps < 0:
            raise InputError(f"loss_shares.every_n_steps is to be 0 or more, got {every_n_steps}")
        self.every_n_steps = every_n_steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        loss = pl_module.loss
        assert isinstance(loss, CompositeLoss)
        if trainer.is_global_zero and self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            loss.watch = len(loss.terms) > 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = pl_module.loss
        assert isinstance(loss, CompositeLoss)
        if loss.seen is None:
            return
        values, gradients, cosines = measure_terms(loss, loss.seen)
        loss.seen = None
        names = list(loss.terms)
        found = dict(
            zip((f"terms/share/{name}" for name in names), values / values.sum().clamp(min=1e-12), strict=True)
        )
        shares = gradients / gradients.sum().clamp(min=1e-12)
        found |= dict(zip((f"terms/gradient_share/{name}" for name in names), shares, strict=True))
        pairs = [(row, column) for row in range(len(names)) for column in range(row + 1, len(names))]
        found |= {f"terms/cosine/{names[row]}-{names[column]}": cosines[row, column] for row, column in pairs}
        pl_module.log_dict(found, rank_zero_only=True)
