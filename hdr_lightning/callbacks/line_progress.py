"""Progress of training where nobody watches a bar: a line now and then, for log files."""

import sys
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from hdr_lightning.progress import LOG_SECONDS, duration


class LineProgress(ProgressBar):
    """Print a line every few seconds of training, and the metrics after each validation."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._said = self._started = time.monotonic()
        self._first_step = 0

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._said = self._started = time.monotonic()
        self._first_step = trainer.fit_loop.total_batch_idx + 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._enabled and now - self._said >= LOG_SECONDS:
            self._said = now
            total = self.total_train_batches
            speed = (trainer.fit_loop.total_batch_idx + 1 - self._first_step) / (now - self._started)
            left = (
                f", {duration((total - batch_idx - 1) / speed)} left in it" if speed and total != float("inf") else ""
            )
            self._say(f"{_epoch(trainer)}, step {batch_idx + 1}/{total}{left}{_metrics(trainer, 'train/loss')}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._enabled and not trainer.sanity_checking:
            spent = duration(time.monotonic() - self._started)
            self._say(
                f"{_epoch(trainer)} after {spent}{_metrics(trainer, 'train/loss', 'val/l1', 'val/psnr', 'val/ssim')}"
            )

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _epoch(trainer: Trainer) -> str:
    last = trainer.max_epochs
    return f"epoch {trainer.current_epoch + 1}" + (f"/{last}" if last is not None and last > 0 else "")


def _metrics(trainer: Trainer, *names: str) -> str:
    found = [(name, trainer.callback_metrics[name]) for name in names if name in trainer.callback_metrics]
    return "".join(f", {name} {value.item():.4g}" for name, value in found)
