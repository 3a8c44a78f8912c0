"""A training loss that goes up."""

from statistics import median
from typing import Any

from lightning import LightningModule, Trainer

from hdr_lightning.callbacks.flags.flag import Action, Sign, at_least, due
from hdr_lightning.callbacks.flags.running import LossFlag, loss_of, weights_of
from hdr_lightning.data.pairs import Pair


class RisingLoss(LossFlag):
    """The median of the last training losses is above that of those before, by more than their noise.

    A loss is a mean over `every_n_steps` batches of all ranks; where weights of terms or the size of crops change, the
    comparison begins anew.

    Args:
        every_n_steps: batches that make one mean.
        window: means on each side of the comparison.
        rise: share of the former median by which the later is higher at least.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("losses", "kind", "added")

    def __init__(self, every_n_steps: int = 20, window: int = 10, rise: float = 0.05, action: Action = "warn") -> None:
        super().__init__(action)
        at_least(self, 1, every_n_steps=every_n_steps)
        at_least(self, 3, window=window)
        at_least(self, 0, rise=rise)
        self.every_n_steps = every_n_steps
        self.window = window
        self.rise = rise
        self.losses: list[float] = []
        self.kind: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Pair, batch_idx: int
    ) -> None:
        self._mean.add(loss_of(trainer, outputs))
        if not due(trainer, self.every_n_steps):
            return
        kind = [*weights_of(pl_module), *(float(length) for length in batch.source.shape[-2:])]
        if kind != self.kind:
            self.losses, self.kind = [], kind
        mean = self._mean.take(trainer)
        if mean is not None:
            self.losses = [*self.losses, mean][-2 * self.window :]
            self.tell(trainer, self._sign())

    def _sign(self) -> Sign | None:
        if len(self.losses) < 2 * self.window:
            return None
        sides = self.losses[: self.window], self.losses[self.window :]
        before, after = (median(side) for side in sides)
        noise = max(1.4826 * median(abs(loss - median(side)) for loss in side) for side in sides)
        if not after - before > max(self.rise * abs(before), 2 * noise):
            return None
        return Sign(
            f"the training loss rose from {before:.4g} to {after:.4g} (medians of {self.window} means of "
            f"{self.every_n_steps} batches; noise {noise:.2g})",
            "a learning rate too high, or a run that begins to diverge",
            "a lower --model.optimizer.init_args.lr, tighter --trainer.gradient_clip_val, and the last good checkpoint",
        )
