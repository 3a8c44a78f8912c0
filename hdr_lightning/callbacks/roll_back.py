"""Go back to the last good weights where steps are skipped one after the other, and learn more slowly from there."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn

from hdr_lightning.callbacks.ema import EMA
from hdr_lightning.callbacks.gradient_guard import GradientGuard
from hdr_lightning.checkpoints import MOST, aged
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.task import EnhancementTask


@runtime_checkable
class Keeper(Protocol):
    """What keeps checkpoints of a run."""

    def newest(self) -> Path | None:
        """The newest checkpoint that is wholly written."""


class RollBack(Callback):
    """When `GradientGuard` has lost its patience, go back to the newest checkpoint with a lower learning rate.

    Weights, optimiser, loss and moving average are those of the checkpoint; the steps and the data go on, so that what
    broke the training is not met again at the same place. The rate stays lower (`health/rate_factor`), whatever the
    schedule. After too many times, or where nothing was saved yet, the run ends with a report.

    Args:
        times: how often a run may be rolled back; 0 ends it at the first need.
        rate_factor: what the learning rate is multiplied by each time, above 0 and up to 1.

    Attributes:
        history: what happened at each roll-back.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, times: int = 3, rate_factor: float = 0.5) -> None:
        if times < 0:
            raise InputError(f"roll_back.times is to be 0 or more, got {times}")
        if not 0 < rate_factor <= 1:
            raise InputError(f"roll_back.rate_factor is to be above 0 and up to 1, got {rate_factor}")
        self.times = times
        self.rate_factor = rate_factor
        self.history: list[str] = []
        self._rate = 1.0

    def state_dict(self) -> dict[str, Any]:
        return {"history": list(self.history), "rate": self._rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self._rate = list(state_dict["history"]), state_dict["rate"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, EnhancementTask)
        pl_module.rate_factor = self._rate

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, EnhancementTask)
        guard = next((each for each in trainer.callbacks if isinstance(each, GradientGuard)), None)  # type: ignore[attr-defined]
        if guard is None or len(guard.pending) < guard.patience:
            return
        if len(self.history) >= self.times:
            raise RunStopped(self._report(guard, f"after {len(self.history)} roll-backs there are no more"))
        path, checkpoint = _newest_sound(trainer, guard)
        if path is None:
            raise RunStopped(self._report(guard, "nothing had been saved yet to go back to"))
        self._rate *= self.rate_factor
        _go_back(trainer, pl_module, checkpoint, self._rate)
        self.history.append(
            f"up to step {trainer.global_step}, {len(guard.pending)} skipped in a row, back to {path.name}, rate "
            f"times {self._rate:g}: {guard.pending[0]}"
        )
        rank_zero_warn(f"roll-back {len(self.history)} of {self.times}, {self.history[-1]}")
        guard.pending.clear()
        pl_module.log_dict({"health/rollbacks": float(len(self.history)), "health/rate_factor": self._rate})

    def _report(self, guard: GradientGuard, end: str) -> str:
        first, last = guard.pending[0], guard.pending[-1]
        lines = [f"{len(guard.pending)} steps in a row were skipped, the first and the last:", first, last]
        lines += [f"roll-back {number}, {each}" for number, each in enumerate(self.history, 1)]
        return "\n  ".join(lines) + (
            f"\n{end}. The checkpoints hold only sound weights. Try `check-loss`, a lower learning rate "
            "(--model.optimizer.init_args.lr), or without the term that is named"
        )


def _newest_sound(trainer: Trainer, guard: GradientGuard) -> tuple[Path | None, dict[str, Any]]:
    """The newest checkpoint, but none that a process that had to leave saved between skipped steps."""
    keeper = next((each for each in trainer.callbacks if isinstance(each, Keeper)), None)  # type: ignore[attr-defined]
    path = trainer.strategy.broadcast(keeper.newest() if keeper else None)
    for each in [] if path is None else [aged(path, age) for age in range(MOST)]:
        if each.is_file():
            checkpoint = trainer.strategy.load_checkpoint(each, weights_only=True)
            if not checkpoint["callbacks"][guard.state_key]["pending"]:
                return each, checkpoint
    return None, {}


def _go_back(trainer: Trainer, task: EnhancementTask, checkpoint: dict[str, Any], rate: float) -> None:
    """Take from a checkpoint what the steps since then have changed for the worse."""
    trainer.strategy.load_model_state_dict(checkpoint)
    trainer.strategy.load_optimizer_state_dict(checkpoint)
    precision = trainer.precision_plugin
    if type(precision).__qualname__ in checkpoint:  # the scaler of float16
        precision.load_state_dict(checkpoint[type(precision).__qualname__])
    for average in (each for each in trainer.callbacks if isinstance(each, EMA)):  # type: ignore[attr-defined]
        average.on_load_checkpoint(trainer, task, checkpoint)
        average.load_state_dict(checkpoint["callbacks"][average.state_key])
    task.loss.take_peaks()
    task.loss.resume(checkpoint["loss"])
    task.loss.epoch = trainer.current_epoch
    task.rate_factor = rate
    task.apply_rate()
