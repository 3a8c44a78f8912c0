"""What checkpoints and early stopping decide by."""

from collections.abc import Iterable

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from hdr_lightning.errors import RunStopped


class MonitoredMetrics(Callback):
    """End a run in which a checkpoint or early stopping watches a metric that is not there, or is not finite.

    Looks after each validation, before they do, and already after the few photos that are validated at the start.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            name = callback.monitor if isinstance(callback, (EarlyStopping, ModelCheckpoint)) else None
            if name is None or (trainer.sanity_checking and not _due(name, metrics)):
                continue
            key = "early_stopping" if isinstance(callback, EarlyStopping) else "checkpoint"
            if name not in metrics:
                known = ", ".join(sorted(metric for metric in metrics if metric.startswith("val/")))
                raise RunStopped(f"{key}.monitor is {name}, which is not measured: set it to one of {known}")
            if not metrics[name].isfinite():
                raise RunStopped(
                    f"{key}.monitor is {name}, which is {metrics[name].item()} in epoch {trainer.current_epoch}: "
                    "nothing can be decided by it. Lower the learning rate, or set it to a metric such as val/psnr"
                )


def _due(name: str, metrics: Iterable[str]) -> bool:
    """Whether a metric is to be there before the first step: one of validation, where a photo could be measured."""
    return name.startswith("val/") and "val/l1" in metrics
