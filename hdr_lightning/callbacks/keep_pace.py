"""Keep a generator that is spread over devices running where the devices do not evaluate equally many photos."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy

from hdr_lightning.sharding import ShardedStrategy
from hdr_lightning.task import EnhancementTask


class KeepPace(Callback):
    """Run a spread generator on an empty picture on devices that are out of photos while others have one left.

    The others need the weights that these devices hold, and would wait for ever. Nothing is measured of it.
    """

    def __init__(self) -> None:
        self._last = -1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer, trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer, trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._count(trainer, trainer.num_predict_batches)

    def _count(self, trainer: Trainer, batches: int | float | list[int | float]) -> None:
        """Note behind which batch this device is to run once more, if any; shares of photos differ by one at most."""
        self._last = -1
        if isinstance(trainer.strategy, (ShardedStrategy, DeepSpeedStrategy)):
            own = sum(batches) if isinstance(batches, list) else batches
            most = trainer.strategy.reduce(torch.tensor(own, device=trainer.strategy.root_device), reduce_op="max")
            self._last = int(own) - 1 if own < most else -1

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == self._last:
            assert isinstance(pl_module, EnhancementTask)
            generator = pl_module.generator
            shape = (1, generator.in_channels, generator.stride, generator.stride)
            like = next(generator.parameters())
            with trainer.precision_plugin.forward_context():
                pl_module(torch.zeros(shape, device=pl_module.device, dtype=like.dtype))

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
