"""What a test shows: a table, pictures, and one HTML page to look at."""

import base64
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

import hdr_lightning
from hdr_lightning.callbacks.previews import side_by_side
from hdr_lightning.data.files import writing
from hdr_lightning.data.pairs import Pair
from hdr_lightning.metrics import METRICS, gather
from hdr_lightning.task import EnhancementTask

TITLES = {"l1": "L1", "psnr": "PSNR (dB)", "ssim": "SSIM", "ciede2000": "CIEDE2000"}
DIGITS = {"l1": 4, "psnr": 2, "ssim": 4, "ciede2000": 2}


@dataclass(frozen=True)
class Row:
    """One photo of the test.

    Attributes:
        name: the photo.
        size: height and width of the photo in pixels.
        output: metrics of what the generator made.
        untouched: metrics of the source as it is.
        fault: why it is left out of the means; empty for a sound photo.
        pictures: where the two and the target are shown, without suffix, from the run folder.
    """

    name: str
    size: tuple[int, int]
    output: dict[str, float]
    untouched: dict[str, float]
    pictures: str
    fault: str = ""

    @property
    def gain(self) -> float:
        """Gain of PSNR in dB."""
        return self.output["psnr"] - self.untouched["psnr"]


class Report(Callback):
    """Write `photos.csv`, `pictures/` and `report.html` into the run folder of a test, and print the means.

    Args:
        gallery: how many photos the page shows: those that gain least and most, half and half.
        height: of its pictures, at most, in pixels.
    """

    def __init__(self, gallery: int = 24, height: int = 480) -> None:
        self.gallery = gallery
        self.height = height
        self._rows: list[Row] = []
        self._folder = Path()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir
        assert folder is not None
        self._folder = Path(folder)
        (self._folder / "pictures").mkdir(parents=True, exist_ok=True)
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
        for index, name in enumerate(batch.name):
            size = (batch.target.shape[-2], batch.target.shape[-1])
            images = [batch.source[index], outputs["prediction"][index], batch.target[index]]
            picture = f"pictures/{trainer.global_rank}_{len(self._rows):05d}"
            side_by_side(images, self.height).save(self._folder / f"{picture}.jpg", quality=92)
            self._rows.append(
                Row(
                    name,
                    size,
                    _pick(outputs["metrics"], index),
                    _pick(outputs["untouched"], index),
                    picture,
                    outputs["faults"].get(index, ""),
                )
            )

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rows = gather(self._rows)
        if not trainer.is_global_zero:
            return
        rows.sort(key=lambda row: (not row.fault, row.name if row.fault else "", row.gain))
        _write_csv(self._folder / "photos.csv", rows)
        checkpoint = Path(trainer.ckpt_path) if trainer.ckpt_path else None
        assert isinstance(pl_module, EnhancementTask)
        page = self._render(rows, checkpoint, pl_module)
        with writing(self._folder / "report.html") as temporary:
            temporary.write_text(page, encoding="utf-8")
        print(summary_text(rows))
        print(f"report: {self._folder / 'report.html'}")

    def _render(self, rows: list[Row], checkpoint: Path | None, task: EnhancementTask) -> str:
        half = self.gallery // 2
        shown = rows if len(rows) <= self.gallery else rows[:half] + rows[-half:]
        run = checkpoint.parent.parent if checkpoint else None
        generator = task.generator
        template = Environment(
            loader=PackageLoader("hdr_lightning.callbacks", "."), autoescape=True, undefined=StrictUndefined
        ).get_template("report.html.jinja")
        return template.render(
            summary=summarise(rows),
            counted=counted(rows),
            broken=[row for row in rows if row.fault],
            rows=rows,
            titles=TITLES,
            digits=DIGITS,
            gallery=[(row, _embed(self._folder / f"{row.pictures}.jpg")) for row in shown],
            curves=read_curves(run / "metrics.csv") if run else [],
            generator=type(generator).__name__,
            parameters=sum(p.numel() for p in generator.parameters()),
            checkpoint=str(checkpoint or "untrained weights"),
            config=(run / "config.yaml").read_text(encoding="utf-8") if run and (run / "config.yaml").is_file() else "",
            versions=f"hdr_lightning {hdr_lightning.__version__}, torch {torch.__version__}",
        )


def _pick(metrics: dict[str, Tensor], index: int) -> dict[str, float]:
    return {name: values[index].item() for name, values in metrics.items()}


def summarise(rows: list[Row]) -> list[tuple[str, float, float, float]]:
    """Average over sound photos.

    Returns:
        For each metric its title, its mean of the untouched sources, of the outputs, and the difference.
    """
    table = []
    rows = [row for row in rows if not row.fault]
    for name in METRICS if rows else ():
        before = sum(row.untouched[name] for row in rows) / len(rows)
        after = sum(row.output[name] for row in rows) / len(rows)
        table.append((name, before, after, after - before))
    return table


def summary_text(rows: list[Row]) -> str:
    """The same as a table for the terminal."""
    lines = [f"{counted(rows):>12}  {'untouched':>10}  {'enhanced':>10}  {'gain':>10}"]
    for name, before, after, gain in summarise(rows):
        digits = DIGITS[name]
        lines.append(f"{TITLES[name]:>12}  {before:>10.{digits}f}  {after:>10.{digits}f}  {gain:>+10.{digits}f}")
    return "\n".join(lines)


def counted(rows: list[Row]) -> str:
    """Say how many photos there are, and how many of them count.

    >>> counted([Row("a", (1, 1), {}, {}, ""), Row("b", (1, 1), {}, {}, "", "loss is nan")])
    '1/2 photos'
    """
    sound = sum(not row.fault for row in rows)
    return f"{sound}/{len(rows)} photos" if sound < len(rows) else f"{sound} photos"


def _write_csv(path: Path, rows: list[Row]) -> None:
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["photo", *METRICS, *(f"untouched_{name}" for name in METRICS), "pictures", "fault"])
        for row in rows:
            output = ["" if row.fault else f"{row.output[name]:.6g}" for name in METRICS]
            untouched = [f"{row.untouched[name]:.6g}" for name in METRICS]
            table.writerow([row.name, *output, *untouched, f"{row.pictures}.jpg", row.fault])


def _embed(path: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()


@dataclass(frozen=True)
class Curve:
    """A metric over the steps of a training, ready to be drawn in a box of 300 x 100."""

    title: str
    low: float
    high: float
    last: float
    line: str


def read_curves(path: Path) -> list[Curve]:
    """Read the course of the training from a `metrics.csv`; nothing where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    curves = []
    for column in ("train/loss", "val/psnr", "val/ssim", "val/l1", "val/ciede2000"):
        points = [(float(row["step"]), float(row[column])) for row in table if row.get(column)]
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            low, high = min(values), max(values)
            across, up = 300 / max(steps[-1] - steps[0], 1), 100 / max(high - low, 1e-12)
            line = " ".join(f"{(x - steps[0]) * across:.1f},{100 - (y - low) * up:.1f}" for x, y in points)
            curves.append(Curve(column, low, high, values[-1], line))
    return curves
