"""Save what `predict` makes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from hdr_lightning.data.files import read_photo, to_pixels, write_photo
from hdr_lightning.data.pairs import Pair


class PhotoWriter(BasePredictionWriter):
    """Write each enhanced photo into `photos/` of the run folder, in its own format, with EXIF and colour profile."""

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
            photo = replace(read_photo(source), pixels=to_pixels(image))
            write_photo(self._folder / source.name, photo)
