"""What the best weights so far make of each photo that validates."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from hdr_lightning.callbacks.previews import compared
from hdr_lightning.dashboards import dashboards
from hdr_lightning.data.files import writing
from hdr_lightning.data.pairs import Pair
from hdr_lightning.errors import InputError
from hdr_lightning.metrics import gather

Row = dict[str, Any]


class ValidationTable(Callback):
    """After each validation that is the best so far write `validation.csv`: a row a photo, with measures and faults.

    Loggers show it as `evaluation/validation`; W&B with pictures of the first photos.

    Args:
        photos: how many have a picture.
        height: of the pictures, at most, in pixels.
    """

    def __init__(self, photos: int = 8, height: int = 160) -> None:
        self.photos = photos
        self.height = height
        self._rows: list[tuple[str, dict[str, Tensor], str]] = []
        self._pictures: list[tuple[str, Any]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows, self._pictures = [], []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        for index, name in enumerate(batch.name):
            metrics = {measure: values[index] for measure, values in outputs["metrics"].items()}
            self._rows.append((name, metrics, outputs["faults"].get(index, "")))
            if trainer.is_global_zero and len(self._pictures) < self.photos and _takes_pictures(trainer):
                shown = (batch.source[index], outputs["prediction"][index], batch.target[index])
                self._pictures.append((name, compared(*shown, self.height)))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        keeper = trainer.checkpoint_callback
        folder = trainer.log_dir  # asks all ranks
        if trainer.sanity_checking or not isinstance(keeper, ModelCheckpoint) or not keeper.monitor or folder is None:
            return
        if not _is_best(keeper, trainer.callback_metrics.get(keeper.monitor)):  # the same on all ranks
            return
        rows = sorted(gather(_numbers(self._rows)), key=lambda row: row[0])
        if trainer.is_global_zero and rows:
            pictures = dict(self._pictures)
            table: list[Row] = [
                {"photo": name, **(dict.fromkeys(metrics) if fault else metrics), "fault": fault}
                for name, metrics, fault in rows
            ]
            path = Path(folder) / "validation.csv"
            _write(path, table)
            pictured = [{**row, "source | output | target | difference": pictures.get(row["photo"])} for row in table]
            for dashboard in dashboards(trainer):
                dashboard.log_photos("evaluation/validation", path, pictured)


def _is_best(keeper: ModelCheckpoint, value: Tensor | None) -> bool:
    """Whether a value is better than all before; `keeper`, which sees it later, may keep several."""
    if value is None or value.isnan():
        return False
    best = keeper.best_model_score
    return best is None or bool(value < best if keeper.mode == "min" else value > best)


def _takes_pictures(trainer: Trainer) -> bool:
    return any(each.takes_pictures for each in dashboards(trainer))


def _numbers(rows: list[tuple[str, dict[str, Tensor], str]]) -> list[tuple[str, dict[str, float], str]]:
    """In one transfer."""
    if not rows:
        return []
    values = torch.stack([torch.stack(list(metrics.values())) for _, metrics, _ in rows]).tolist()
    return [
        (name, dict(zip(metrics, numbers, strict=True)), fault)
        for (name, metrics, fault), numbers in zip(rows, values, strict=True)
    ]


def _write(path: Path, rows: list[Row]) -> None:
    try:
        with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except (OSError, InputError) as error:  # a full disk ends no training
        rank_zero_warn(f"{path} cannot be written ({error}): the training goes on")
