"""Log the size of the gradient, and keep a broken one from the weights."""

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.strategies import DDPStrategy
from torch.optim import Optimizer

from hdr_lightning.callbacks.scale_guard import ScaleGuard, reduced
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.sharding import gradient_norm
from hdr_lightning.task import EnhancementTask


class GradientGuard(Callback):
    """Log `train/gradient_norm`, before clipping, and skip a step whose gradient is not finite, on every rank alike.

    Healthy training shows a norm of 0.3 to 1, slowly falling. A skipped step leaves weights and optimiser as they are;
    it is counted (`train/skipped_steps`) and the term that broke it named. It waits for the device once a step.

    Args:
        patience: skipped steps in a row that end the run.

    Raises:
        InputError: if `patience` is below 1.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise InputError(f"gradient_guard.patience is to be 1 or more, got {patience}")
        self.patience = patience
        self.skipped = 0
        self._row = 0

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped, "row": self._row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.skipped, self._row = state_dict["skipped"], state_dict["row"]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert isinstance(pl_module, EnhancementTask)
        norm = gradient_norm(pl_module.parameters())
        pl_module.log("train/gradient_norm", norm)
        pl_module.gradient_norm = norm
        broke = ~norm.isfinite()
        if not isinstance(trainer.strategy, DDPStrategy):  # which has added up the gradients by now: all see the same
            broke = trainer.strategy.reduce(broke.float(), reduce_op="max")
        if not broke:
            self._row = 0
            return
        peaks = reduced(trainer, pl_module, pl_module.loss.peaks)
        broken = [f'"{name}"' for name, size in peaks.items() if size == torch.inf]
        if not any(isinstance(each, ScaleGuard) and each.policy == "drop" for each in trainer.callbacks):  # type: ignore[attr-defined]
            pl_module.loss.forgive()  # dealt with here; what exploded before is left to `ScaleGuard`
        if getattr(trainer.precision_plugin, "scaler", None) is not None and not broken:
            return  # in float16 the scaler tries for the largest factor that does not overflow, and skips by itself
        for parameter in pl_module.parameters():
            parameter.grad = None  # which every optimiser leaves alone
        self.skipped += 1
        self._row += 1
        pl_module.log("train/skipped_steps", float(self.skipped))
        cause = f"the loss term {', '.join(broken)} was" if broken else "the gradient, though no loss term, was"
        if self._row >= self.patience:
            raise RunStopped(
                f"{self._row} steps in a row were skipped up to step {trainer.global_step}: {cause} not finite. The "
                "checkpoints hold only sound weights. Try `check-loss`, a lower learning rate, or without that term"
            )
        rank_zero_warn(f"step {trainer.global_step} skipped, {self.skipped} in all: {cause} not finite on some rank")
