"""Keep the number of samples behind a step of the optimiser, however many devices share them."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.strategies import DeepSpeedStrategy

from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.stages import Stages
from hdr_lightning.errors import InputError


class EffectiveBatch(Callback):
    """Add up gradients until so many samples went into them: `samples` / (`data.batch_size` x devices x nodes) batches.

    Where `data.stages` change the batch size, each stage has its own number of batches.

    Args:
        samples: for each step of the optimiser; 0 leaves `trainer.accumulate_grad_batches` as it is.

    Raises:
        InputError: if it is negative.
    """

    def __init__(self, samples: int = 0) -> None:
        if samples < 0:
            raise InputError(f"effective_batch.samples is to be 0 or more, got {samples}")
        self.samples = samples
        self._batches = 0
        self._fitting = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that it works out in every stage, before anything is trained.

        Raises:
            InputError: if it does not, or the number of batches is given, too.
        """
        self._fitting = self.samples > 0 and stage == "fit"
        if not self._fitting:
            return
        if trainer.accumulate_grad_batches != 1:
            raise InputError(
                f"effective_batch.samples is {self.samples} and trainer.accumulate_grad_batches "
                f"{trainer.accumulate_grad_batches}: give one of the two"
            )
        sizes = [each.batch_size for each in _stages(trainer).stages]
        numbers = {size: batches_a_step(self.samples, size, trainer.world_size) for size in sizes}
        if isinstance(trainer.strategy, DeepSpeedStrategy) and len(set(numbers.values())) > 1:
            raise InputError(
                "DeepSpeed adds up the same number of batches in all stages: give all data.stages one batch size, "
                "or take another strategy"
            )
        trainer.accumulate_grad_batches = numbers[sizes[0]]  # what a strategy reads once

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._set(trainer, checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer, trainer.current_epoch)

    def _set(self, trainer: Trainer, epoch: int) -> None:
        if not self._fitting:
            return
        size = _stages(trainer).at(epoch)[0].batch_size
        trainer.accumulate_grad_batches = batches_a_step(self.samples, size, trainer.world_size)
        if trainer.accumulate_grad_batches != self._batches:
            self._batches = trainer.accumulate_grad_batches
            rank_zero_info(
                f"a step of the optimiser takes {self.samples} samples: {size} x {trainer.world_size} devices x "
                f"{self._batches} batches"
            )


def _stages(trainer: Trainer) -> Stages:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, PairDataModule)
    return data.stages


def batches_a_step(samples: int, batch_size: int, devices: int) -> int:
    """How many batches of every device make up so many samples.

    Raises:
        InputError: if no whole number of them does.
    """
    together = batch_size * devices
    if samples % together == 0:
        return samples // together
    below = samples // together * together
    near = " or ".join(str(number) for number in (below, below + together) if number)
    fitting = [str(size) for size in range(1, samples + 1) if samples % (size * devices) == 0]
    other = f", or data.batch_size to one of {', '.join(fitting)}" if fitting else ""
    raise InputError(
        f"{samples} samples a step are no multiple of {batch_size} (batch_size) x {devices} (devices of all nodes): "
        f"set effective_batch.samples to {near}{other}"
    )
