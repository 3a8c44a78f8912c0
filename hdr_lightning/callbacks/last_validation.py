"""Measure what a training came to, also where it does not end on an epoch that validates."""

from lightning import Callback, LightningModule, Trainer


class LastValidation(Callback):
    """Validate after the last epoch, so that every run has a best checkpoint and no epoch is trained for nothing."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_epoch_start(trainer, pl_module)  # which is not called where a run goes on amid an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1
