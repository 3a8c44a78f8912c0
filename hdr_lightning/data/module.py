"""Data for the trainer. The test set is opened by `test` alone."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from lightning import LightningDataModule
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset

from hdr_lightning.data.audit import check_pairs, refuse_equal_photos
from hdr_lightning.data.augment import CropFlip
from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.manifest import list_photos, read_pairs, read_quarantine
from hdr_lightning.data.pairs import Draw, EpochSampler, Pair, PairDataset
from hdr_lightning.data.splits import Split, refuse_shared_content, split_pairs
from hdr_lightning.errors import InputError


class PairDataModule(LightningDataModule):
    """Pairs of unedited and edited photos, split into training, validation and a held-out test set.

    Args:
        pairs: a JSONL manifest with "src", "tar" and perhaps "group" a line, paths relative to it; or a folder of
            sources and a folder of targets whose photos have the same names.
        test: what is held out: the first k pairs, a list of their "src", or a manifest of its own.
        validation: share of the remaining pairs (whole groups) that validate, in (0, 1).
        split_seed: chooses which.
        crop: side of the random square that training sees, in pixels.
        flip: probability of a horizontal flip in training.
        batch_size: crops a training step and device. Evaluation takes whole photos, one at a time.
        workers: processes that read photos; 0 reads in the training process.
        photos: folder that `predict` enhances.
        quarantine: JSONL of pairs to leave out, with "src" relative to it a line, such as `hdr-lightning audit` writes.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(
        self,
        pairs: Path | tuple[Path, Path] | None = None,
        test: int | list[str] | Path = 5,
        validation: float = 0.1,
        split_seed: int = 0,
        crop: int = 256,
        flip: float = 0.5,
        batch_size: int = 8,
        workers: int = 2,
        photos: Path | None = None,
        quarantine: Path | None = None,
    ) -> None:
        super().__init__()
        for name, value, low, high in (
            ("validation", validation, 0, 1),
            ("flip", flip, 0, 1),
            ("crop", crop, 1, math.inf),
            ("batch_size", batch_size, 1, math.inf),
            ("workers", workers, 0, math.inf),
        ):
            if not low <= value <= high:
                raise InputError(
                    f"data.{name} is to be {low} or more, got {value}"
                    if high == math.inf
                    else f"data.{name} is to lie between {low} and {high}, got {value}"
                )
        self.pairs = pairs
        self.test = test
        self.validation = validation
        self.split_seed = split_seed
        self.augment = CropFlip(crop, flip)
        self.batch_size = batch_size
        self.workers = workers
        self.photos = photos
        self.quarantine = quarantine

    @cached_property
    def split(self) -> Split:
        """Resolve which pair serves what. Opens the manifest and no photo.

        Raises:
            InputError: if there are no pairs, or they cannot be split.
        """
        if self.pairs is None:
            raise InputError("data.pairs is not set: give a JSONL manifest, or two folders as [sources, targets]")
        quarantine = read_quarantine(self.quarantine) if self.quarantine else frozenset()
        return split_pairs(read_pairs(self.pairs), self.test, self.validation, self.split_seed, quarantine)

    @property
    def _stage(self) -> TrainerFn:
        assert self.trainer is not None and self.trainer.state.fn is not None
        return self.trainer.state.fn

    def prepare_data(self) -> None:
        """Check the photos that this run opens, once for all ranks."""
        if self._stage is TrainerFn.PREDICTING:
            return
        parts = self.split
        assert self.pairs is not None
        rank_zero_info(
            f"pairs: {len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test (held out)"
            + (f", {len(parts.left_out)} left out (in a group of the test set)" if parts.left_out else "")
            + (f", {len(parts.quarantined)} left out ({self.quarantine})" if self.quarantine else "")
        )
        if self._stage is TrainerFn.TESTING:
            if not parts.test:
                raise InputError("no pairs are held out for the test: set data.test to more than 0")
            check_pairs(parts.test, None, "test")
        else:
            train = check_pairs(parts.train, self.augment.crop) if self._stage is TrainerFn.FITTING else []
            refuse_equal_photos([*train, *check_pairs(parts.validation, None, "validation")])
        manifest = self.test if isinstance(self.test, Path) else self.pairs
        refuse_shared_content(parts, manifest, may_open_test=self._stage is TrainerFn.TESTING)

    def _loader(self, dataset: Dataset[Pair], batch_size: int, shuffle: bool) -> DataLoader[Pair]:
        assert self.trainer is not None
        count, ranks = len(dataset), self.trainer.world_size  # type: ignore[arg-type]
        if count < ranks:
            raise InputError(f"{count} photos cannot be shared by {ranks} processes: use fewer devices or more photos")
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=EpochSampler(count, self.split_seed, shuffle, self.trainer.global_rank, ranks),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def training_pairs(self, number: int) -> Iterator[Pair]:
        """Some crops as the first epoch sees them, one at a time, read here and now."""
        dataset = PairDataset(self.split.train, self.augment, self.split_seed)
        for photo in range(min(number, len(dataset))):
            pair = dataset[Draw(epoch=0, photo=photo * len(dataset) // number if number < len(dataset) else photo)]
            yield Pair(pair.source[None], pair.target[None], pair.name)

    def train_dataloader(self) -> DataLoader[Pair]:
        return self._loader(PairDataset(self.split.train, self.augment, self.split_seed), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Pair]:
        return self._loader(PairDataset(self.split.validation), batch_size=1, shuffle=False)

    def test_dataloader(self) -> DataLoader[Pair]:
        if self._stage is not TrainerFn.TESTING:
            raise InputError("the test set is opened by `test` alone")
        return self._loader(PairDataset(self.split.test), batch_size=1, shuffle=False)

    def predict_dataloader(self) -> DataLoader[Pair]:
        if self.photos is None:
            raise InputError(
                "predict enhances the folder data.photos, which is not set; for single photos use `enhance`"
            )
        return self._loader(PhotoDataset(list_photos(self.photos)), batch_size=1, shuffle=False)


class PhotoDataset(Dataset[Pair]):
    """Photos without an edited partner: each is its own target."""

    def __init__(self, photos: Sequence[Path]) -> None:
        self.photos = list(photos)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, draw: Draw) -> Pair:
        path = self.photos[draw.photo]
        image = to_tensor(read_photo(path).pixels)
        return Pair(image, image, str(path))
