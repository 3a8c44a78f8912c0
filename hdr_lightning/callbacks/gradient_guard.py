"""Log the size of the gradient, and keep a broken one from the weights."""

import math
from statistics import median
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info, rank_zero_warn
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy
from torch import Tensor
from torch.optim import Optimizer

from hdr_lightning.callbacks.scale_guard import ScaleGuard, reduced
from hdr_lightning.errors import InputError
from hdr_lightning.sharding import gradient_norm
from hdr_lightning.task import EnhancementTask

WINDOW = 101
"""Sound steps whose norms make the median."""


class GradientGuard(Callback):
    """Log `gradients/norm`, before clipping, and skip steps whose gradient is not finite or explodes.

    On every rank alike. Healthy training shows a norm of 0.3 to 1, slowly falling; a gradient explodes where its norm
    is more than `factor` times the median of the last 101 sound ones, counted anew where `model.unfreeze_epoch` frees
    what was frozen. A skipped step leaves weights and optimiser as
    they are; it is counted (`health/skipped_steps`) and its cause named. What follows from several in a row is up to
    `RollBack`. It waits for the device once a step.

    In float16 the norm is that of the gradient without the scaler's factor, and a step that overflows is left to the
    scaler as long as its factor is 1 or more. DeepSpeed keeps the gradients to itself: there is no guard under it.

    Args:
        patience: skipped steps in a row after which the weights are no longer trusted.
        factor: how many times the median a norm may be; 0 skips only what is not finite.
        warmup_steps: sound steps before norms are compared, up to 101.

    Attributes:
        skipped: steps skipped in all.
        pending: what happened at each of the steps skipped in a row, up to now.
        stepped: whether the last step of the optimiser changed the weights.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, patience: int = 10, factor: float = 20.0, warmup_steps: int = 50) -> None:
        if patience < 1:
            raise InputError(f"gradient_guard.patience is to be 1 or more, got {patience}")
        if not (factor == 0 or factor > 1):
            raise InputError(f"gradient_guard.factor is to be above 1, or 0 for none, got {factor}")
        if not 1 <= warmup_steps <= WINDOW:
            raise InputError(f"gradient_guard.warmup_steps is to be 1 to {WINDOW}, got {warmup_steps}")
        self.patience = patience
        self.factor = factor
        self.warmup_steps = warmup_steps
        self.skipped = 0
        self.pending: list[str] = []
        self.stepped = True
        self._norms: list[float] = []

    @property
    def sound(self) -> bool:
        """Whether the weights may be saved as good ones: no skipped steps wait for what comes of them."""
        return not self.pending

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "pending": list(self.pending), "norms": list(self._norms)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped, self.pending = state_dict["skipped"], list(state_dict["pending"])
        self._norms = list(state_dict["norms"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(trainer.strategy, DeepSpeedStrategy):
            rank_zero_info("DeepSpeed keeps the gradients to itself: steps are skipped by its own rules, if at all")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, EnhancementTask)
        if pl_module.holding.until == trainer.current_epoch:
            self._norms = []  # what is freed now adds to the norm, which is no explosion

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert isinstance(pl_module, EnhancementTask)
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if not gradients:
            return
        norm = whole_norm(trainer, pl_module)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        late = scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False)  # it unscales by itself
        if late:
            norm = norm / scale
        pl_module.log("gradients/norm", norm)
        pl_module.gradient_norm = norm
        size = float(norm)
        usual = median(self._norms) if self._norms else 0.0
        judged = self.factor > 0 and usual > 0 and len(self._norms) >= self.warmup_steps
        self.stepped = math.isfinite(size) and not (judged and size > self.factor * usual)
        if self.stepped:
            self.pending.clear()
            self._norms = [*self._norms, size][-WINDOW:]
            return
        causes, peaks = self._causes(trainer, pl_module)
        if scaler is not None and not math.isfinite(size) and not causes and scale >= 1:
            return  # the scaler tries for the largest factor that does not overflow, and skips by itself
        if late:
            gradients[0].fill_(torch.inf)  # the scaler, which has not looked yet, skips what overflows
        else:
            for parameter in pl_module.parameters():
                parameter.grad = None  # which every optimiser leaves alone
        self._tell(trainer, pl_module, _reason(size, usual, causes), f"gradient norm {size:.3g}, {peaks}")

    def _causes(self, trainer: Trainer, task: EnhancementTask) -> tuple[list[str], str]:
        """The terms that were not finite since the last look, and the largest values of all."""
        peaks = reduced(trainer, task, task.loss.peaks)
        if not any(isinstance(each, ScaleGuard) and each.policy == "drop" for each in trainer.callbacks):  # type: ignore[attr-defined]
            task.loss.forgive()  # dealt with here; what exploded before is left to `ScaleGuard`
        sizes = ", ".join(f"{name} up to {size:.3g}" for name, size in peaks.items())
        return [name for name, size in peaks.items() if size == torch.inf], sizes

    def _tell(self, trainer: Trainer, task: EnhancementTask, reason: str, figures: str) -> None:
        self.skipped += 1
        self.pending.append(f"step {trainer.global_step}: {reason} ({figures})")
        task.log("health/skipped_steps", float(self.skipped))
        rank_zero_warn(f"step {trainer.global_step} skipped, {self.skipped} in all: {reason} ({figures})")


def _reason(size: float, usual: float, broken: list[str]) -> str:
    if broken:
        names = ", ".join(f'"{name}"' for name in broken)
        return f"the loss term {names} was not finite on some rank"
    if not math.isfinite(size):
        return "the gradient, though no loss term, was not finite on some rank"
    return f"the gradient exploded to {size / usual:.3g} times its median of {usual:.3g}"


def whole_norm(trainer: Trainer, task: EnhancementTask) -> Tensor:
    """The norm of a gradient whose parts may lie on several ranks: a number that is the same on all of them."""
    strategy, norm = trainer.strategy, gradient_norm(task.parameters())
    if isinstance(strategy, FSDPStrategy):  # each rank has the gradient of its own shard
        norm = strategy.reduce(norm.float().square(), reduce_op="sum").sqrt()
    elif trainer.world_size > 1 and not isinstance(strategy, DDPStrategy):  # which has added up the gradients by now
        norm = strategy.reduce(norm.nan_to_num(nan=torch.inf), reduce_op="max")  # a maximum may drop a NaN
    assert isinstance(norm, Tensor)
    return norm
