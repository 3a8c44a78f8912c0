"""Save the training, so that nothing ends it for good."""

import time
from pathlib import Path
from signal import Signals
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch import distributed

from hdr_lightning.callbacks.gradient_guard import GradientGuard
from hdr_lightning.checkpoints import LAST, MOST, CheckpointWriter, save_folder
from hdr_lightning.errors import InputError, RunInterrupted, RunStopped
from hdr_lightning.signals import CODES, SIGNALS

SAVE = 1
"""A wish to save; a number below that of any signal that is caught."""


class SavePoints(Checkpoint):
    """Save `checkpoints/last.ckpt` after every epoch, and now and then within; keep those before as `last_1.ckpt`, ...

    SIGTERM, SIGUSR1 and Ctrl-C let the step end, save and leave, with the exit codes 143, 75 and 130; a second Ctrl-C
    leaves at once. It is enough that one of several processes gets the signal.

    Args:
        every_n_steps: optimiser steps between two saves within an epoch; 0 saves by the clock alone.
        every_minutes: minutes between two saves within an epoch.
        keep: how many of the newest are kept, 1 to 9; with more than one, a file that a disk damages ends nothing.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, every_n_steps: int = 0, every_minutes: float = 15.0, keep: int = 2) -> None:
        if every_n_steps < 0 or every_minutes <= 0 or not 1 <= keep <= MOST:
            raise InputError(
                f"save_points: expected every_n_steps >= 0, every_minutes > 0 and keep of 1 to 9, got {every_n_steps}, "
                f"{every_minutes} and {keep}"
            )
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self.keep = keep
        self._path = Path()
        self._writer: CheckpointWriter | None = None
        self._saved_at = (0.0, 0)
        self._group: distributed.ProcessGroup | None = None
        self._common_batches = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = trainer.log_dir  # asked on every rank, as it is sent to all
        if stage == "fit" and folder is not None:
            self._path = Path(folder) / "checkpoints" / f"{LAST}.ckpt"
            assert isinstance(trainer.strategy.checkpoint_io, CheckpointWriter)
            self._writer = trainer.strategy.checkpoint_io
            self._writer.keep = self.keep

    def newest(self) -> Path | None:
        """The newest checkpoint that is wholly written, on every rank; waits for one under way."""
        if self._writer is None:
            return None
        self._writer.wait()
        if self._group is not None:
            distributed.barrier(self._group)
        return self._path if self._path.is_file() else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = (time.monotonic(), trainer.global_step)
        if trainer.world_size > 1:
            group = distributed.new_group(backend="gloo")
            assert isinstance(group, distributed.ProcessGroup)
            self._group = group
        SIGNALS.defer()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop._should_accumulate():
            return  # the gradients so far are in no checkpoint
        wish = self._agree(SIGNALS.received or SAVE * self._is_due(trainer))
        if wish:
            # The log is to know what the checkpoint knows; the trainer writes it after this hook.
            trainer._logger_connector.update_train_step_metrics()
        if wish > SAVE:
            self._leave(trainer, wish)
        elif wish:
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        if trainer.is_last_batch:
            return False  # saved after the validation
        if not _is_sound(trainer):
            return False
        then, step = self._saved_at
        by_clock = trainer.is_global_zero and time.monotonic() - then >= 60 * self.every_minutes
        return by_clock or (self.every_n_steps > 0 and trainer.global_step - step >= self.every_n_steps)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Ranks may validate different numbers of photos, of which they have to agree after the same.
        batches = int(sum(trainer.num_val_batches))
        self._common_batches = -self._agree(-batches)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx < self._common_batches and not trainer.sanity_checking:
            wish = self._agree(SIGNALS.received)
            if wish:
                self._leave(trainer, wish)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        over = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        saved = over or _is_sound(trainer)
        if saved:
            self._save(trainer)
        wish = self._agree(SIGNALS.received)
        if wish:
            self._leave(trainer, wish, saved)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._wait("the last checkpoint")

    def _agree(self, wish: int) -> int:
        """The largest wish of all ranks; between processors, so that no device waits."""
        if self._group is None:
            return wish
        wishes = torch.tensor(wish)
        distributed.all_reduce(wishes, distributed.ReduceOp.MAX, group=self._group)
        return int(wishes.item())

    def _save(self, trainer: Trainer) -> None:
        if self._writer is None:
            return  # a `fast_dev_run` has no folder
        if isinstance(trainer.strategy, DeepSpeedStrategy):
            save_folder(trainer, self._path, self.keep)
        else:
            trainer.save_checkpoint(self._path, weights_only=False)
        self._saved_at = (time.monotonic(), trainer.global_step)

    def _leave(self, trainer: Trainer, number: int, saved: bool = False) -> None:
        name = Signals(number).name
        if self._writer is None:
            raise RunInterrupted(f"{name}: left at step {trainer.global_step}; nothing is saved", CODES[number])
        if not saved:
            self._save(trainer)
        self._wait(f"after {name}, the training")
        raise RunInterrupted(
            f"{name}: saved at step {trainer.global_step} in {self._path}; the same command with --run goes on there",
            CODES[number],
        )

    def _wait(self, what: str) -> None:
        failure = self._writer.wait() if self._writer is not None else None
        if failure is not None:
            raise RunStopped(f"{what} could not be saved: {failure}. The checkpoints before are as they were")


def _is_sound(trainer: Trainer) -> bool:
    """Whether the weights are worth going back to; a process that has to leave saves the others, too."""
    return all(each.sound for each in trainer.callbacks if isinstance(each, GradientGuard))  # type: ignore[attr-defined]
