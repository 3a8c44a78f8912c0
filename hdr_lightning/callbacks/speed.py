"""Log how fast training is and how much memory it takes."""

import sys
import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from hdr_lightning.data.pairs import Pair


class Speed(Callback):
    """After each epoch log `system/samples_per_second` of all devices and `system/peak_memory_gb` of the first process.

    The speed counts the time from the first batch to the last, waiting for the loader included, validation excluded.
    The memory is that of the GPU where there is one, else that of the process without its loader's workers.
    """

    def __init__(self) -> None:
        self._started = self._ended = 0.0
        self._samples = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_epoch_start(trainer, pl_module)  # which is not called where a run goes on within an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()
        self._samples = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Pair, batch_idx: int
    ) -> None:
        self._ended = time.monotonic()
        self._samples += len(batch.source)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        speed = self._samples * trainer.world_size / max(self._ended - self._started, 1e-9)
        pl_module.log("system/samples_per_second", speed, rank_zero_only=True)
        pl_module.log("system/peak_memory_gb", _peak_memory(pl_module.device) / 1e9, rank_zero_only=True)


def _peak_memory(device: torch.device) -> float:
    """The most memory used so far, in bytes; NaN where the system does not tell (Windows, without a GPU)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
