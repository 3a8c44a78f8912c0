"""Data for the trainer. The test set is opened by `test` alone."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from lightning import LightningDataModule
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset

from hdr_lightning.data.audit import check_pairs
from hdr_lightning.data.augment import CropFlip, Jitter, Mix
from hdr_lightning.data.depth_maps import DepthMaps
from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.manifest import PairPaths, list_photos, read_pairs
from hdr_lightning.data.pairs import Draw, EpochLoader, EpochSampler, Pair, PairDataset
from hdr_lightning.data.splits import Split, refuse_shared_content, split_pairs
from hdr_lightning.data.stages import Stage, Stages
from hdr_lightning.errors import InputError
from hdr_lightning.features.depth import DepthModel


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
        stages: later sizes, such as `[{epoch: 30, crop: 192, batch_size: 4}]`; `crop` and `batch_size` hold until the
            first of them.
        flip_vertical: probability of a vertical flip in training.
        turns: probability of a turn by 90, 180 or 270 degrees in training; 0.75 makes all four directions as likely.
        exposure: largest change of the source's exposure in training, in stops of linear light, up or down.
        white_balance: largest change of the source's red and blue in training, each for itself, in stops, up or down.
        mixup: probability that another training pair is blended into a pair (MixUp).
        cutmix: probability that a rectangle of another training pair replaces that of a pair (CutMix).
        depth_folder: where the depth of training and validation photos is kept, for a generator that takes that of a
            model; below the cache folder of the user if nothing is given.
        workers: processes that read photos; 0 reads in the training process.
        photos: folder that `predict` enhances.

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
        stages: Sequence[Stage] = (),
        flip_vertical: float = 0.0,
        turns: float = 0.0,
        exposure: float = 0.0,
        white_balance: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        depth_folder: Path | None = None,
    ) -> None:
        super().__init__()
        for name, value, low, high in (
            ("validation", validation, 0, 1),
            ("flip", flip, 0, 1),
            ("flip_vertical", flip_vertical, 0, 1),
            ("turns", turns, 0, 1),
            ("exposure", exposure, 0, math.inf),
            ("white_balance", white_balance, 0, math.inf),
            ("mixup", mixup, 0, 1),
            ("cutmix", cutmix, 0, 1 - mixup),
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
        self.augment = CropFlip(crop, flip, flip_vertical, turns)
        self.jitter = Jitter(exposure, white_balance)
        self.mix = Mix(mixup, cutmix)
        self.batch_size = batch_size
        self.stages = Stages(crop, batch_size, stages)
        self.workers = workers
        self.photos = photos
        self.depth_folder = depth_folder
        self.depth: DepthModel | None = None  # of the generator; the command line sets it

    @cached_property
    def split(self) -> Split:
        """Resolve which pair serves what. Opens the manifest and no photo.

        Raises:
            InputError: if there are no pairs, or they cannot be split.
        """
        if self.pairs is None:
            raise InputError("data.pairs is not set: give a JSONL manifest, or two folders as [sources, targets]")
        return split_pairs(read_pairs(self.pairs), self.test, self.validation, self.split_seed)

    @property
    def _stage(self) -> TrainerFn:
        assert self.trainer is not None and self.trainer.state.fn is not None
        return self.trainer.state.fn

    def prepare_data(self) -> None:
        """Check the photos that this run opens, and compute their depth, once for all ranks."""
        if self.depth is not None:
            self.depth.load()  # told now if it is not there
        if self._stage is TrainerFn.PREDICTING:
            return
        parts = self.split
        assert self.pairs is not None
        rank_zero_info(
            f"pairs: {len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test (held out)"
            + (f", {len(parts.left_out)} left out (in a group of the test set)" if parts.left_out else "")
        )
        if self._stage is TrainerFn.TESTING:
            if not parts.test:
                raise InputError("no pairs are held out for the test: set data.test to more than 0")
            check_pairs(parts.test, crop=None)
        else:
            if self._stage is TrainerFn.FITTING:
                check_pairs(parts.train, self.stages.largest_crop)
            check_pairs(parts.validation, crop=None)
        manifest = self.test if isinstance(self.test, Path) else self.pairs
        refuse_shared_content(parts, manifest, may_open_test=self._stage is TrainerFn.TESTING)
        if self._stage is TrainerFn.FITTING:
            self._estimate_depth(parts.train)
        if self._stage is not TrainerFn.TESTING:
            self._estimate_depth(parts.validation)

    def _loader(self, dataset: Dataset[Pair], batch_size: int, shuffle: bool) -> DataLoader[Pair]:
        assert self.trainer is not None
        count, ranks = len(dataset), self.trainer.world_size  # type: ignore[arg-type]
        if count < ranks:
            raise InputError(f"{count} photos cannot be shared by {ranks} processes: use fewer devices or more photos")
        return EpochLoader(
            dataset,
            batch_size=batch_size,
            sampler=EpochSampler(count, self.split_seed, shuffle, self.trainer.global_rank, ranks),
            num_workers=self.workers,
            # Loaders that are made anew for a stage may crash with both (pytorch issue 91252).
            persistent_workers=self.workers > 0 and len(self.stages) == 1,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def _depth_maps(self) -> DepthMaps | None:
        return None if self.depth is None else DepthMaps.of(self.depth, self.depth_folder)

    def _estimate_depth(self, pairs: Sequence[PairPaths]) -> None:
        if self.depth is not None:
            device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
            DepthMaps.of(self.depth, self.depth_folder).build([pair.source for pair in pairs], self.depth, device)

    def _training_set(self, crop: int) -> PairDataset:
        augment = replace(self.augment, crop=crop)
        return PairDataset(self.split.train, augment, self.split_seed, self.jitter, self.mix, self._depth_maps)

    def training_pairs(self, number: int) -> Iterator[Pair]:
        """Some crops as the first epoch sees them, one at a time, read here and now."""
        dataset = self._training_set(self.stages.at(0)[0].crop)
        count = min(number, len(dataset))
        photos = [step * len(dataset) // count for step in range(count)]
        self._estimate_depth([self.split.train[photo] for photo in photos])  # `check-loss` prepares nothing before
        for photo in photos:
            pair = dataset[Draw(epoch=0, photo=photo)]
            yield Pair(pair.source[None], pair.target[None], pair.name, pair.depth[None])

    def train_dataloader(self) -> DataLoader[Pair]:
        assert self.trainer is not None
        stage, left = self.stages.at(self.trainer.current_epoch)
        if len(self.stages) > 1:
            # The trainer counts the batches of an epoch when it asks for the loader: let it ask at the next stage.
            self.trainer.reload_dataloaders_every_n_epochs = left  # type: ignore[attr-defined]
        return self._loader(self._training_set(stage.crop), stage.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Pair]:
        return self._loader(PairDataset(self.split.validation, depth=self._depth_maps), batch_size=1, shuffle=False)

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
