"""Deal with a loss term that grows out of scale, before weeks are lost to it."""

from typing import Any, Literal

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.losses import CompositeLoss
from hdr_lightning.losses.check import rescaling

Policy = Literal["stop", "warn", "rescale", "drop"]


class ScaleGuard(Callback):
    """Act when the largest value of a term, over all ranks, passed its ceiling or was not finite.

    Looks every few steps, and under `stop` before every checkpoint, so that none holds weights which such a term has
    moved unseen. Under the other policies a checkpoint keeps what was seen for the next look: what is done about a term
    does not depend on when a run was saved.

    Args:
        every_n_steps: steps between looks; each look waits for the device once.
        policy: `stop` ends the run, `warn` says so once a term, `rescale` gives the term the share of the total that
            its weight means (at the start of a run, too, where the check of the loss finds that it starves the others),
            `drop` goes on without it. What was rescaled or dropped is saved with the task and resumed.

    Raises:
        InputError: if `every_n_steps` is below 1.
    """

    def __init__(self, every_n_steps: int = 50, policy: Policy = "stop") -> None:
        if every_n_steps < 1:
            raise InputError(f"scale_guard.every_n_steps is to be 1 or more, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.policy = policy
        self.events: dict[str, int] = {}
        self._resumed: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        return {"events": self.events}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.events, self._resumed = state_dict["events"], state_dict.get("peaks", [])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._resumed:
            _loss(pl_module).recall(torch.tensor(self._resumed, device=pl_module.device))
            self._resumed = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self.every_n_steps == 0:
            self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.policy == "stop":
            self._look(trainer, pl_module)
        elif "callbacks" in checkpoint and _loss(pl_module).peaks is not None:
            peaks = reduced(trainer, pl_module, _loss(pl_module).peaks)
            checkpoint["callbacks"][self.state_key]["peaks"] = list(peaks.values())

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = _loss(pl_module)
        sizes = reduced(trainer, pl_module, loss.take_peaks())
        broken = [name for name, size in sizes.items() if not size <= loss.ceilings[name]]
        for name in sorted(broken, key=lambda term: -sizes[term]):
            self._act(name, sizes, broken, loss, trainer.global_step)

    def _act(self, name: str, sizes: dict[str, float], broken: list[str], loss: CompositeLoss, step: int) -> None:
        self.events[name] = self.events.get(name, 0) + 1
        others = ", ".join(f"{term} {size:.3g}" for term, size in sizes.items() if term != name) or "none"
        what = (
            f'the loss term "{name}" reached {sizes[name]:.3g} at step {step}, above its ceiling of '
            f"{loss.ceilings[name]:g} (peaks of the other terms: {others})"
        )
        if self.policy == "stop":
            raise RunStopped(
                f"{what}. Lower its weight (--model.loss.init_args.terms.{name}.init_args.weight), or, if this size is "
                f"meant, raise its ceiling; where all terms rose, lower the learning rate. The checkpoints hold only "
                f"weights from before; a run resumed from them keeps their loss, one with model.init_from has its own."
            )
        if self.policy == "drop":
            loss.scales[name] = 0.0
            if not any(loss.scales.get(term, 1.0) for term in loss.ceilings):
                raise RunStopped(f"{what}: dropped as the last one, and no term is left to train on")
            rank_zero_warn(f"{what}: dropped, the training goes on without it")
        elif self.policy == "rescale" and sizes[name] < float("inf"):
            sound = [term for term in sizes if term not in broken]
            weights = [loss.term(term).weight for term in sound]
            factor = rescaling(sizes[name], loss.term(name).weight, sum(sizes[term] for term in sound), sum(weights))
            factor = min(factor, loss.ceilings[name] / sizes[name] / 2)
            loss.rescale(name, factor)
            rank_zero_warn(f"{what}: rescaled by {factor:.3g}, for the {self.events[name]}. time")
        elif self.events[name] == 1:
            rank_zero_warn(f"{what}; it is counted from now on, and not told again")


def _loss(pl_module: LightningModule) -> CompositeLoss:
    loss = pl_module.loss
    assert isinstance(loss, CompositeLoss)
    return loss


def reduced(trainer: Trainer, pl_module: LightningModule, peaks: Tensor | None) -> dict[str, float]:
    """The largest peaks over all ranks, by term; infinity where one was not finite."""
    loss = _loss(pl_module)
    if peaks is None:
        peaks = torch.zeros(len(loss.ceilings), device=pl_module.device)
    # A maximum over ranks may drop a NaN; infinity stays.
    peaks = trainer.strategy.reduce(peaks.nan_to_num(nan=torch.inf), reduce_op="max")
    assert isinstance(peaks, Tensor)
    return dict(zip(loss.ceilings, peaks.tolist(), strict=True))
