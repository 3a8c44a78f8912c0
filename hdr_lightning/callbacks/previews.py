"""Pictures of what the generator does, while it learns."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from hdr_lightning.data.files import to_pixels
from hdr_lightning.data.pairs import Pair


class Previews(Callback):
    """After each validation, save source, output and target of the same photos side by side, and send them to W&B.

    Args:
        photos: how many, from the start of the validation set.
        height: of the pictures, at most, in pixels.
    """

    def __init__(self, photos: int = 4, height: int = 320) -> None:
        self.photos = photos
        self.height = height
        self._rows: list[Image.Image] = []

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
            self._rows.append(side_by_side([batch.source[0], outputs["prediction"][0], batch.target[0]], self.height))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir
        rows, self._rows = self._rows, []
        if not rows or folder is None or trainer.sanity_checking:
            return
        pictures = Path(folder) / "pictures"
        try:
            pictures.mkdir(parents=True, exist_ok=True)
            stack(rows).save(pictures / f"epoch_{trainer.current_epoch:04d}.jpg", quality=92)
        except OSError as error:  # a full disk ends no training
            rank_zero_warn(f"{pictures}: the picture of this epoch cannot be written ({error.strerror})")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                captions = [f"source | output | target, photo {n}" for n in range(1, len(rows) + 1)]
                logger.log_image("val/pictures", list(rows), step=trainer.global_step, caption=captions)


def side_by_side(images: list[Tensor], height: int, gap: int = 6) -> Image.Image:
    """Put pictures of one size next to each other.

    Args:
        images: (3, h, w), clipped to [0, 1].
        height: of the result, at most, in pixels; never enlarged.
        gap: white pixels between.
    """
    pixels = [thumbnail(to_pixels(image), height) for image in images]
    sheet = Image.new("RGB", (sum(p.width for p in pixels) + gap * (len(pixels) - 1), pixels[0].height), "white")
    left = 0
    for picture in pixels:
        sheet.paste(picture, (left, 0))
        left += picture.width + gap
    return sheet


def thumbnail(pixels: UInt8[np.ndarray, "h w 3"], height: int) -> Image.Image:
    """A smaller copy, at most `height` high."""
    image = Image.fromarray(pixels)
    image.thumbnail((image.width, height), Image.Resampling.LANCZOS)
    return image


def stack(rows: list[Image.Image], gap: int = 6) -> Image.Image:
    """Put pictures below each other."""
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height + gap for r in rows) - gap), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + gap
    return sheet
