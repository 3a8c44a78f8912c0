"""Refuse a sick loss before anything is trained on it."""

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from hdr_lightning.callbacks.scale_guard import ScaleGuard
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.errors import InputError
from hdr_lightning.losses.check import check_loss, rescaling
from hdr_lightning.losses.composite import Seen
from hdr_lightning.losses.verdict import LossCheck
from hdr_lightning.sharding import ShardedStrategy
from hdr_lightning.task import EnhancementTask


class CheckLoss(Callback):
    """Before the first step, look at each loss term on some pairs of the run and on hard pictures; refuse a sick one.

    A run that goes on is not looked at again.

    Writes `loss_check.json` and `loss_check.png` into the folder of the run.

    Args:
        pairs: how many pairs; 0 checks nothing.
        allow: names of terms that may fail.

    Raises:
        InputError: if `pairs` is negative.
    """

    def __init__(self, pairs: int = 4, allow: str | list[str] = "") -> None:
        if pairs < 0:
            raise InputError(f"loss_check.pairs is to be 0 or more, got {pairs}")
        self.pairs = pairs
        self.allow = [name for name in (allow.split(",") if isinstance(allow, str) else allow) if name]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.pairs and trainer.ckpt_path is None:  # a run that goes on is not refused for what it has learned since
            assert isinstance(pl_module, EnhancementTask)
            assert isinstance(trainer.datamodule, PairDataModule)  # type: ignore[attr-defined]
            self.check(trainer, pl_module, trainer.datamodule)  # type: ignore[attr-defined]

    def check(self, trainer: Trainer, task: EnhancementTask, data: PairDataModule) -> LossCheck:
        """Look at the loss of a task.

        Raises:
            InputError: if a term fails that may not.
        """
        found = self._look(trainer, task, data)
        guard = next((each for each in trainer.callbacks if isinstance(each, ScaleGuard)), None)  # type: ignore[attr-defined]
        if guard is not None and guard.policy == "rescale" and any(term.starves for term in found.terms):
            sound = [term for term in found.terms if not term.starves]
            others, meant = sum(term.value for term in sound), sum(term.meant for term in sound)
            for term in found.terms:
                if term.starves:
                    factor = rescaling(term.value, term.meant, others, meant)
                    task.loss.rescale(term.name, factor)
                    rank_zero_info(
                        f'the loss term "{term.name}" is rescaled by {factor:.3g}: {"; ".join(term.failures)}'
                    )
            found = self._look(trainer, task, data)
        rank_zero_info(str(found))
        folder = trainer.log_dir  # asked on every rank, as it is sent to all
        if trainer.is_global_zero and folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            found.save(Path(folder))
        refused = torch.tensor(float(bool(found.refusals)), device=trainer.strategy.root_device)
        if trainer.strategy.reduce(refused, reduce_op="max"):
            reasons = found.refusals or ["the loss fails on another process"]
            raise InputError("\n".join(reasons) + "\nor let it pass: --allow=NAME,...")
        return found

    def _look(self, trainer: Trainer, task: EnhancementTask, data: PairDataModule) -> LossCheck:
        """On every rank by itself."""
        loss, epoch = task.loss, task.loss.epoch
        modes = [(module, module.training) for module in task.generator.modules()]  # frozen parts keep theirs
        plugin, device = trainer.precision_plugin, trainer.strategy.root_device
        dtype = next(task.generator.parameters()).dtype
        # A sharded generator is whole only in its training step: there the source stands for what it makes.
        whole = isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy, ShardedStrategy))
        exact, rounded = [], []
        task.generator.eval()
        for pair in data.training_pairs(self.pairs):
            source, target, given = pair.source.to(device), pair.target.to(device), pair.input.to(device, dtype)
            with torch.no_grad():
                prediction = task(given).float() if whole else source
                exact.append(Seen(prediction, target, source))
                if whole and plugin.precision != "32-true":
                    with plugin.forward_context():
                        rounded.append(Seen(task(given).float(), target, source))
        for module, mode in modes:
            module.training = mode
        steps = {"bf16": torch.bfloat16, "16-": torch.float16}
        step = next((kind for start, kind in steps.items() if str(plugin.precision).startswith(start)), torch.float32)
        loss.epoch = None  # with every term at the largest weight that its ramp gives it
        try:
            return check_loss(loss, exact, rounded, str(plugin.precision), step, self.allow)
        finally:
            loss.epoch = epoch
