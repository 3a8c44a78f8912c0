"""Pictures of what the generator does, while it learns."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from PIL import Image
from torch import Tensor

from hdr_lightning.dashboards import dashboards
from hdr_lightning.data.files import to_pixels
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.pairs import Pair
from hdr_lightning.errors import InputError
from hdr_lightning.metrics import gather
from hdr_lightning.report.pictures import difference_map, marked, thumbnail
from hdr_lightning.task import EnhancementTask


class Previews(Callback):
    """Save source, output, target and their difference side by side, of the same photos, and send them to the loggers.

    After each validation in `pictures/epoch_0000.jpg` and, every so many steps, in `pictures/step_0000000.jpg`; these
    show the weights that are trained, where `ema` validates others. The difference is the luminance of output and
    target: darker is blue, brighter is red. Photos that are left out of the means are shown in `epoch_0000_broken.jpg`,
    with what is not finite in magenta.

    Args:
        photos: how many, from the start of the validation set.
        height: of the pictures, at most, in pixels.
        every_n_steps: steps of the optimiser between pictures, beside those of each validation; 0 makes none.

    Raises:
        InputError: if `every_n_steps` is negative.
    """

    def __init__(self, photos: int = 4, height: int = 320, every_n_steps: int = 0) -> None:
        if every_n_steps < 0:
            raise InputError(f"previews.every_n_steps is to be 0 or more, got {every_n_steps}")
        self.photos = photos
        self.height = height
        self.every_n_steps = every_n_steps
        self._step = 0
        self._rows: list[Image.Image] = []
        self._broken: list[tuple[str, Image.Image]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if self.every_n_steps and step > self._step and step % self.every_n_steps == 0:
            rows = self._enhanced(trainer, pl_module)
            folder = trainer.log_dir  # asks all ranks
            if trainer.is_global_zero and folder is not None:
                captions = [f"source | output | target | difference, {name}" for name, _ in rows]
                shown = dict(zip(captions, (row for _, row in rows), strict=True))
                self._show(trainer, Path(folder) / "pictures" / f"step_{step:07d}.jpg", "steps", shown)

    def _enhanced(self, trainer: Trainer, task: LightningModule) -> list[tuple[str, Image.Image]]:
        """Pass photos through the generator, on all ranks alike, as each may hold a part of it."""
        assert isinstance(task, EnhancementTask)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, PairDataModule)
        dtype = next(task.generator.parameters()).dtype
        modes = [(module, module.training) for module in task.generator.modules()]  # frozen parts keep theirs
        task.generator.eval()
        rows = []
        for pair in data.validation_pairs(self.photos):
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                prediction = task(pair.input.to(task.device, dtype)).float().cpu()
            rows.append((str(pair.name), compared(pair.source[0], prediction[0], pair.target[0], self.height)))
        for module, mode in modes:
            module.training = mode
        return rows

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.is_global_zero and len(self._rows) < self.photos:
            self._rows.append(self._row(outputs, batch, 0))
        for index in outputs["faults"]:
            if len(self._broken) < self.photos:
                self._broken.append((batch.name[index], self._row(outputs, batch, index)))

    def _row(self, outputs: Any, batch: Pair, index: int) -> Image.Image:
        return compared(batch.source[index], outputs["prediction"][index], batch.target[index], self.height)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # asks all ranks, as the next line does
        broken = dict(sorted(gather(self._broken))[: self.photos])
        rows, self._rows, self._broken = self._rows, [], []
        if folder is None or trainer.sanity_checking or not trainer.is_global_zero:
            return
        captions = [f"source | output | target | difference, photo {n}" for n in range(1, len(rows) + 1)]
        epoch = Path(folder) / "pictures" / f"epoch_{trainer.current_epoch:04d}.jpg"
        self._show(trainer, epoch, "validation", dict(zip(captions, rows, strict=True)))
        self._show(trainer, epoch.with_stem(f"{epoch.stem}_broken"), "broken", broken)

    def _show(self, trainer: Trainer, path: Path, what: str, rows: dict[str, Image.Image]) -> None:
        if not rows:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack(list(rows.values())).save(path, quality=92)
        except OSError as error:  # a full disk ends no training
            rank_zero_warn(f"{path.parent}: a picture cannot be written ({error.strerror})")
        for dashboard in dashboards(trainer):
            dashboard.log_pictures(f"pictures/{what}", rows, trainer.global_step)


def compared(
    source: Float[Tensor, "3 h w"], output: Float[Tensor, "3 h w"], target: Float[Tensor, "3 h w"], height: int
) -> Image.Image:
    """Put source, output, target and the map of the difference of the last two next to each other.

    Args:
        source: RGB, sRGB-encoded, [0, 1], as the target.
        output: not clamped, and perhaps not finite.
        target: what the output is to be.
        height: of the result, at most, in pixels; never enlarged.
    """
    return beside(
        [*(small(image, height) for image in (source, output, target)), difference_map(output, target, height)]
    )


def small(image: Float[Tensor, "3 h w"], height: int) -> Image.Image:
    """A small picture, clipped to [0, 1], at most `height` pixels high, with pixels that are not finite in magenta."""
    return marked(image, thumbnail(to_pixels(image.nan_to_num(0)), height))


def beside(pictures: list[Image.Image], gap: int = 6) -> Image.Image:
    """Put pictures next to each other, with white pixels between."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    return sheet


def stack(rows: list[Image.Image], gap: int = 6) -> Image.Image:
    """Put pictures below each other."""
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height + gap for r in rows) - gap), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + gap
    return sheet
