"""Measure what a training came to, also where it does not end on an epoch that validates."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class LastValidation(Callback):
    """Validate after the last step, so that every run has a best checkpoint and no epoch is trained for nothing."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        last_step = 0 <= trainer.max_steps <= trainer.global_step + 1 and not trainer.fit_loop._should_accumulate()
        if last_step or (last_epoch and trainer.is_last_batch):
            trainer.check_val_every_n_epoch = 1
            trainer.val_check_batch = 1
