"""Log how the terms of the loss share value and gradient, and whether they pull together."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from hdr_lightning.errors import InputError
from hdr_lightning.losses import CompositeLoss
from hdr_lightning.losses.check import measure_terms


class LossShares(Callback):
    """Every few steps log each term's share of the total and of the gradient, and the cosines between the gradients.

    As `terms/share/NAME`, `gradients/share/NAME` and `gradients/cosine/NAME-OTHER`, of the batch of the first process.

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
        shares = (each / each.sum().clamp(min=1e-12) for each in (values, gradients))
        found = {
            f"{group}/share/{name}": number
            for group, share in zip(("terms", "gradients"), shares, strict=True)
            for name, number in zip(names, share.tolist(), strict=True)
        }
        rows = cosines.tolist()
        pairs = [(row, column) for row in range(len(names)) for column in range(row + 1, len(names))]
        found |= {f"gradients/cosine/{names[row]}-{names[column]}": rows[row][column] for row, column in pairs}
        # Not by the task's `log`, which would repeat them at every step until they are measured again.
        for logger in trainer.loggers:
            logger.log_metrics(found, step=trainer.fit_loop.epoch_loop._batches_that_stepped)
