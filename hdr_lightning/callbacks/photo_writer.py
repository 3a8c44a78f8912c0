"""Save what `predict` makes."""

import time
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.callbacks import Callback

from hdr_lightning.data.ahead import Opened, PhotosAhead, Unreadable
from hdr_lightning.data.files import make_folder
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.errors import InputError, PhotosFailed
from hdr_lightning.inference.enhancer import Edited
from hdr_lightning.inference.jobs import Job, plan
from hdr_lightning.inference.journal import Journal, fingerprint
from hdr_lightning.inference.settings import Editing, Method
from hdr_lightning.inference.writing import PhotoWriting, Times
from hdr_lightning.metrics import gather
from hdr_lightning.task import EnhancementTask


class PhotoWriter(Callback):
    """Enhance photos as `enhance` does, on all devices, and write each in its own format and depth.

    RAW files, which cannot be written, become TIFFs with 16 bits a channel. With a folder of its own, an interrupted
    command goes on where it stopped, on any number of devices.

    Args:
        output: folder for the enhanced photos; `photos` in the folder of the run if nothing is given.
        overwrite: whether photos in the output folder that are not what would be made may be replaced.
        compare: whether pictures of source and result side by side are written to `compare` in the output folder.
        tta: whether the results of the eight flips and quarter turns are averaged; takes eight times as long.
        strength: share of the result in a blend with the source: 0 is the source, 1 the result.
        sharpen: amount of a light unsharp mask: 0 is none, 1 strong.
        guard: whether results are refused that cannot be an edit of their photo.
        method: how a photo passes the network: whole, in strips with the same result in less memory, or in overlapping
            tiles; auto takes the first that fits.
        memory: gigabytes (10^9 bytes) to work in on each device; what is free if nothing is given.
        tile: side of a tile in pixels; the largest that fits if nothing is given.
        overlap: pixels that tiles share.
    """

    def __init__(
        self,
        output: Path | None = None,
        overwrite: bool = False,
        compare: bool = False,
        tta: bool = False,
        strength: float = 1.0,
        sharpen: float = 0.0,
        guard: bool = True,
        method: Method = "auto",
        memory: float | None = None,
        tile: int | None = None,
        overlap: int = 64,
    ) -> None:
        self.output = output
        self.overwrite = overwrite
        self.compare = compare
        self.editing = Editing(method, memory, tile, overlap, tta, strength, sharpen, guard)
        self._jobs: dict[Path, Job] = {}
        self._left: list[Job] = []
        self._began = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, EnhancementTask) and isinstance(trainer.datamodule, PairDataModule)  # type: ignore[attr-defined]
        pl_module.editing = self.editing
        folder = trainer.log_dir  # asks all ranks
        assert folder is not None
        output = self.output or Path(folder) / "photos"

        def choose() -> PhotosAhead:  # now that the weights are there; before any rank writes
            photos = trainer.datamodule.photos  # type: ignore[attr-defined]
            if photos is None:
                raise InputError(
                    "predict enhances the folder data.photos, which is not set; for single photos use `enhance`"
                )
            return self._choose(plan([photos], output, self.compare), output, pl_module, trainer)

        trainer.datamodule.photos_ahead = choose  # type: ignore[attr-defined]

    def _choose(self, jobs: list[Job], output: Path, task: EnhancementTask, trainer: Trainer) -> PhotosAhead:
        """The share of this device of what is left to be done."""
        journal = Journal(output, self.editing, fingerprint([task.generator]), trainer.global_rank)
        self._left = journal.left(jobs, self.overwrite)
        self._jobs = {job.source: job for job in self._left}
        self._writing = PhotoWriting(journal, self.compare)
        make_folder(output)
        rank_zero_info(f"{len(self._left)} photos to {output}, {len(jobs) - len(self._left)} are done already")
        self._ahead = PhotosAhead([job.source for job in self._left[trainer.global_rank :: trainer.world_size]])
        return self._ahead

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._began = time.monotonic()

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Edited | InputError,
        batch: Opened | Unreadable,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, Edited) and isinstance(batch, Opened):
            self._writing.write(self._jobs[batch.path], batch, outputs, time.monotonic() - self._began)
        elif isinstance(outputs, InputError):
            self._writing.fail(batch.path, outputs)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._left:
            self._writing.finish()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say how it went; here, as a device without a photo of its own skips the hooks of the prediction."""
        self._writing.finish()
        self._writing.times.waited += self._ahead.waited
        times = gather([self._writing.times])
        done, failures = sum(gather([self._writing.done])), gather(self._writing.failures)
        rank_zero_info(f"{done} photos: {sum(times, Times())}")
        if failures:
            raise PhotosFailed(len(self._left), failures)
