"""Validation that gets worse while training gets better."""

from typing import Any

from lightning import LightningModule, Trainer

from hdr_lightning.callbacks.flags.flag import Action, Sign, at_least, training
from hdr_lightning.callbacks.flags.running import LossFlag, loss_of, weights_of


class Gap(LossFlag):
    """`val/loss` stays above its best while the training loss falls on: photos are learned by heart.

    Args:
        patience: validations in a row.
        margin: share of the loss by which validation is worse, and training better, at least.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("row", "best", "weights", "added")

    def __init__(self, patience: int = 5, margin: float = 0.02, action: Action = "warn") -> None:
        super().__init__(action)
        at_least(self, 1, patience=patience)
        at_least(self, 0, margin=margin)
        self.patience = patience
        self.margin = margin
        self.row = 0
        self.best: tuple[float, float] | None = None
        self.weights: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._mean.add(loss_of(trainer, outputs))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not training(trainer):
            return
        trained = self._mean.take(trainer)
        weights = weights_of(pl_module)
        if trained is None or "val/loss" not in trainer.callback_metrics:
            return
        validated = trainer.callback_metrics["val/loss"].item()
        if weights != self.weights:  # losses of other weights are no measure for these
            self.best, self.weights = None, weights
        if self.best is None or validated < self.best[0]:
            self.best = (validated, trained)
        best, then = self.best
        apart = validated > best + self.margin * abs(best) and trained < then - self.margin * abs(then)
        self.row = self.row + 1 if apart else 0
        sign = None
        if self.row >= self.patience:
            sign = Sign(
                f"val/loss is {validated:.4g}, {best:.4g} at its best, while the training loss fell from {then:.4g} to "
                f"{trained:.4g}, in {self.row} validations",
                "that the network learns the training photos by heart",
                "checkpoints/best.ckpt, more photos or augmentation, more weight decay, or a smaller network",
            )
        self.tell(trainer, sign)
