"""Stop a run whose loss has a term out of scale, before weeks are lost to it."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.losses import CompositeLoss


class ScaleGuard(Callback):
    """End a run in which the largest value of a term, over all ranks, passed its ceiling or was not finite.

    Looks every few steps, and before every checkpoint, so that none holds weights which such a term has moved.

    Args:
        every_n_steps: steps between looks; each look waits for the device once.

    Raises:
        InputError: if `every_n_steps` is below 1.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise InputError(f"scale_guard.every_n_steps is to be 1 or more, got {every_n_steps}")
        self.every_n_steps = every_n_steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self.every_n_steps == 0:
            self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look(trainer, pl_module)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = pl_module.loss
        assert isinstance(loss, CompositeLoss)
        peaks = loss.take_peaks()
        if peaks is None:
            peaks = torch.zeros(len(loss.ceilings), device=pl_module.device)
        # A maximum over ranks may drop a NaN; infinity stays.
        peaks = trainer.strategy.reduce(peaks.nan_to_num(nan=torch.inf), reduce_op="max")
        assert isinstance(peaks, torch.Tensor)
        sizes = dict(zip(loss.ceilings, peaks.tolist(), strict=True))
        broken = [name for name, size in sizes.items() if not size <= loss.ceilings[name]]
        if broken:
            name = max(broken, key=lambda term: sizes[term])
            others = ", ".join(f"{term} {size:.3g}" for term, size in sizes.items() if term != name) or "none"
            raise RunStopped(
                f'the loss term "{name}" reached {sizes[name]:.3g} at step {trainer.global_step}, above its ceiling of '
                f"{loss.ceilings[name]:g} (peaks of the other terms: {others}). "
                f"Lower its weight (--model.loss.init_args.terms.{name}.init_args.weight), or, if this size is meant, "
                f"raise its ceiling; where all terms rose, lower the learning rate. "
                f"The checkpoints hold only weights from before."
            )
