"""Save what `predict` makes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from hdr_lightning.data.files import output_name, read_photo, to_pixels, write_photo
from hdr_lightning.data.pairs import Pair
from hdr_lightning.errors import InputError


class PhotoWriter(BasePredictionWriter):
    """Write each enhanced photo into `photos/` of the run folder, in its own format and depth, with all but its pixels.

    RAW files, which cannot be written, become TIFFs with 16 bits a channel.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")
        self._folder = Path()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # asks all ranks, so once and here: they do not enhance equally many photos
        assert folder is not None
        self._folder = Path(folder) / "photos"

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[Any] | None,
        batch: Pair,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        for image, name in zip(prediction, batch.name, strict=True):
            source = Path(name)
            photo = read_photo(source)
            enhanced = replace(photo, pixels=to_pixels(image, photo.pixels.dtype))
            target = self._folder / output_name(Path(source.name))
            if target.exists():
                raise InputError(f"{source}: another photo became {target} already: rename one of the two")
            write_photo(target, enhanced)
