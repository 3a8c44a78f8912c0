"""Pictures of what the generator does, while it learns."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from hdr_lightning.data.files import to_pixels
from hdr_lightning.data.pairs import Pair
from hdr_lightning.metrics import gather
from hdr_lightning.report.pictures import marked, thumbnail


class Previews(Callback):
    """After each validation, save source, output and target of the same photos side by side, and send them to W&B.

    Photos that are left out of the means are shown in `epoch_0000_broken.jpg`, with what is not finite in magenta.

    Args:
        photos: how many, from the start of the validation set.
        height: of the pictures, at most, in pixels.
    """

    def __init__(self, photos: int = 4, height: int = 320) -> None:
        self.photos = photos
        self.height = height
        self._rows: list[Image.Image] = []
        self._broken: list[tuple[str, Image.Image]] = []

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
        return side_by_side([batch.source[index], outputs["prediction"][index], batch.target[index]], self.height)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # asks all ranks, as the next line does
        broken = dict(sorted(gather(self._broken))[: self.photos])
        rows, self._rows, self._broken = self._rows, [], []
        if folder is None or trainer.sanity_checking or not trainer.is_global_zero:
            return
        captions = [f"source | output | target, photo {n}" for n in range(1, len(rows) + 1)]
        self._show(trainer, Path(folder), "", dict(zip(captions, rows, strict=True)))
        self._show(trainer, Path(folder), "broken", broken)

    def _show(self, trainer: Trainer, folder: Path, what: str, rows: dict[str, Image.Image]) -> None:
        if not rows:
            return
        pictures = folder / "pictures"
        name = "_".join(filter(None, (f"epoch_{trainer.current_epoch:04d}", what)))
        try:
            pictures.mkdir(parents=True, exist_ok=True)
            stack(list(rows.values())).save(pictures / f"{name}.jpg", quality=92)
        except OSError as error:  # a full disk ends no training
            rank_zero_warn(f"{pictures}: the picture of this epoch cannot be written ({error.strerror})")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                key = "_".join(filter(None, ("val/pictures", what)))
                logger.log_image(key, list(rows.values()), step=trainer.global_step, caption=list(rows))


def side_by_side(images: list[Tensor], height: int, gap: int = 6) -> Image.Image:
    """Put pictures of one size next to each other, with pixels that are not finite in magenta.

    Args:
        images: (3, h, w), clipped to [0, 1].
        height: of the result, at most, in pixels; never enlarged.
        gap: white pixels between.
    """
    pixels = [marked(image, thumbnail(to_pixels(image.nan_to_num(0)), height)) for image in images]
    sheet = Image.new("RGB", (sum(p.width for p in pixels) + gap * (len(pixels) - 1), pixels[0].height), "white")
    left = 0
    for picture in pixels:
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
