"""What a test shows: tables, pictures, and one HTML page to look at."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

import hdr_lightning
from hdr_lightning.dashboards import dashboards
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.pairs import Pair
from hdr_lightning.evaluation.cost import count_parameters
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Contender, EvaluatedPhoto, Evaluation
from hdr_lightning.evaluation.table import Measured, Row, tabulate
from hdr_lightning.generators import Generator
from hdr_lightning.metrics import gather
from hdr_lightning.report.gallery import Gallery
from hdr_lightning.report.page import write_report
from hdr_lightning.report.summary import sound_values
from hdr_lightning.task import EnhancementTask


class Report(Callback):
    """Write `report.html`, `report.md`, `photos.csv` and `pictures/` into the run folder of a test, print the means.

    The tables and the page go to W&B, the files to MLflow, the Markdown to TensorBoard, where such a logger is set.

    Args:
        gallery: how many photos the page shows: those that gain least and most, half and half.
        height: of its pictures, at most, in pixels.
    """

    def __init__(self, gallery: int = 24, height: int = 480) -> None:
        self.gallery = gallery
        self.height = height
        self._rows: list[Row] = []
        self._groups: dict[str, str] = {}
        self._gallery = Gallery(Path())

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir
        assert folder is not None
        self._gallery = Gallery(Path(folder), self.height, self.gallery)
        self._groups = _groups(getattr(trainer, "datamodule", None))
        self._rows = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        contender = type(_generator(pl_module)).__name__
        for index, name in enumerate(batch.name):
            source, output, target = (
                image[index].float().cpu() for image in (batch.source, outputs["prediction"], batch.target)
            )
            self._gallery.add(name, source, target, {contender: output})
            measured = {
                SOURCE: Measured(_pick(outputs["untouched"], index)),
                contender: Measured(_pick(outputs["metrics"], index), outputs["faults"].get(index, "")),
            }
            height, width = target.shape[-2:]
            self._rows.append(Row(EvaluatedPhoto(name, self._groups.get(name, name), width, height), measured))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rows = gather(self._rows)
        self._gallery.gather()
        if not trainer.is_global_zero:
            return
        evaluation = self._evaluation(trainer, pl_module, rows)
        page = write_report(evaluation, self._gallery, self._gallery.folder)
        for dashboard in dashboards(trainer):
            dashboard.log_evaluation(evaluation, self._gallery)
        print(summary_text(evaluation))
        print(f"report: {page}")

    def _evaluation(self, trainer: Trainer, pl_module: LightningModule, rows: list[Row]) -> Evaluation:
        contender, checkpoint = type(_generator(pl_module)).__name__, str(trainer.ckpt_path or "")
        config = Path(checkpoint).parent.parent / "config.yaml"
        sound = sum(not row.measured[contender].fault for row in rows)
        return tabulate(
            f"{contender} on {counted(len(rows), sound)}",
            [Contender(SOURCE), Contender(contender, checkpoint or "untrained weights", contender)],
            list(rows[0].measured[contender].values) if rows else [],
            rows,
            config.read_text(encoding="utf-8") if checkpoint and config.is_file() else "",
            {
                "parameters": f"{count_parameters(_generator(pl_module)):,}",
                "versions": f"hdr_lightning {hdr_lightning.__version__}, torch {torch.__version__}",
                "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
            },
        )


def _generator(module: LightningModule) -> Generator:
    assert isinstance(module, EnhancementTask)
    return module.generator


def _pick(metrics: dict[str, Tensor], index: int) -> dict[str, float]:
    return {name: values[index].item() for name, values in metrics.items()}


def _groups(data: object) -> dict[str, str]:
    """The scene of each test photo by its name; a pair alone is its own."""
    if not isinstance(data, PairDataModule):
        return {}
    return {pair.name: pair.group for pair in data.split.test if pair.group != str(pair.source)}


def summary_text(evaluation: Evaluation) -> str:
    """Means before and after over sound photos as a table for the terminal."""
    contender = evaluation.contenders[1].name
    sound = len(evaluation.photos) - len(evaluation.faults.get(contender, {}))
    lines = [f"{counted(len(evaluation.photos), sound):>12}  {'untouched':>10}  {'enhanced':>10}  {'gain':>10}"]
    for name in evaluation.measures:
        columns = (sound_values(evaluation, each, name) for each in (SOURCE, contender))
        both = [(old, new) for old, new in zip(*columns, strict=True) if old is not None and new is not None]
        if both:
            before, after = (sum(column) / len(both) for column in zip(*both, strict=True))
            digits = MEASURES[name].digits
            means = f"{before:>10.{digits}f}  {after:>10.{digits}f}  {after - before:>+10.{digits}f}"
            lines.append(f"{MEASURES[name].title:>12}  {means}")
    return "\n".join(lines)


def counted(photos: int, sound: int) -> str:
    """Say how many photos there are, and how many of them count.

    >>> counted(2, 1)
    '1/2 photos'
    """
    return f"{sound}/{photos} photos" if sound < photos else f"{sound} photos"
