"""Data for the trainer. The test set is opened by `test` alone."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from lightning import LightningDataModule
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset

from hdr_lightning.data.ahead import PhotosAhead
from hdr_lightning.data.audit import check_pairs, refuse_equal_photos
from hdr_lightning.data.augment import CropFlip, Jitter, Mix
from hdr_lightning.data.cache import PhotoCache, PhotoReader, Reader
from hdr_lightning.data.contents import (
    Record,
    recorded_beside,
    refuse_changed,
    refuse_shared_content,
    refuse_shared_files,
)
from hdr_lightning.data.depth_maps import DepthMaps
from hdr_lightning.data.manifest import PairPaths, Pairs, photos_of, read_pairs
from hdr_lightning.data.pairs import Draw, EpochLoader, EpochSampler, Pair, PairDataset
from hdr_lightning.data.quarantine import read_quarantine, without
from hdr_lightning.data.sources import PairSource
from hdr_lightning.data.sources.degradations import Degradation
from hdr_lightning.data.split_file import read_record, read_split
from hdr_lightning.data.splits import Fold, HeldOut, Split, hash_names, split_pairs
from hdr_lightning.data.stages import Stage, Stages
from hdr_lightning.data.worker_signals import leave_signals_to_the_trainer
from hdr_lightning.errors import InputError
from hdr_lightning.features.depth import DepthModel


class PairDataModule(LightningDataModule):
    """Pairs of unedited and edited photos, split into training, validation and a held-out test set.

    Args:
        pairs: a manifest (JSONL, CSV, Parquet) with "src", "tar" and perhaps "group", paths relative to it; or a folder
            of sources and a folder of targets whose photos have the same names; or a source such as FiveK or LOLv1.
        test: what is held out: the first k pairs, a share of them, a list of their "src", or a manifest of its own;
            without it the test set that the source's publisher names, or else the first five pairs.
        validation: share of the remaining pairs (whole groups) that validate, in (0, 1).
        split_seed: chooses which.
        folds: divide the remaining pairs (whole groups) into so many parts, of which one validates; 0 takes
            `validation` instead.
        fold: which, from 0.
        split: a file of `hdr-lightning split` that says all this; then `test`, `validation`, `split_seed` and `folds`
            are not used.
        crop: side of the random square that training sees, in pixels.
        flip: probability of a horizontal flip in training.
        batch_size: crops a training step and device. Evaluation takes whole photos, one at a time.
        workers: processes that read photos; 0 reads in the training process.
        photos: folder that `predict` enhances, with those in it.
        resize: length in pixels that the shorter side of larger photos is reduced to before the crop, in validation and
            test too; at least `crop`. `predict` keeps photos as they are.
        cache: a folder on a local disk that keeps decoded photos, as `resize` makes them, for training and validation.
        cache_gb: the most that the cache may hold, in 10^9 bytes.
        stream: folder or URL of shards, as `hdr-lightning shard` writes them, for training and validation in place of
            the files of `pairs`, split as they were written; `test` still reads `pairs`.
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
        check: whether every photo is looked at before it is used, and leaks between the parts are searched; what has
            not changed is not decoded again. False starts at once, for a large data set that `audit` has seen.
        quarantine: JSONL of pairs to leave out, with "src" relative to it a line, such as `hdr-lightning audit` writes.

    Raises:
        InputError: if a number is out of range, or two options exclude each other.
    """

    def __init__(
        self,
        pairs: PairSource | list[Path] | Path | None = None,
        test: HeldOut | None = None,
        validation: float = 0.1,
        split_seed: int = 0,
        folds: int = 0,
        fold: int = 0,
        split: Path | None = None,
        crop: int = 256,
        flip: float = 0.5,
        batch_size: int = 8,
        workers: int = 2,
        photos: Path | None = None,
        resize: int | None = None,
        cache: Path | None = None,
        cache_gb: float = 100.0,
        stream: str | None = None,
        stages: Sequence[Stage] = (),
        flip_vertical: float = 0.0,
        turns: float = 0.0,
        exposure: float = 0.0,
        white_balance: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        depth_folder: Path | None = None,
        quarantine: Path | None = None,
        check: bool = True,
    ) -> None:
        super().__init__()
        self.stages = Stages(crop, batch_size, stages)
        for name, value, low, high in (
            ("validation", validation, 0, 1),
            ("flip", flip, 0, 1),
            ("flip_vertical", flip_vertical, 0, 1),
            ("turns", turns, 0, 1),
            ("exposure", exposure, 0, 8),
            ("white_balance", white_balance, 0, 8),
            ("mixup", mixup, 0, 1),
            ("cutmix", cutmix, 0, round(1 - mixup, 9)),
            ("crop", crop, 1, math.inf),
            ("batch_size", batch_size, 1, math.inf),
            ("workers", workers, 0, math.inf),
            ("resize", math.inf if resize is None else resize, self.stages.largest_crop, math.inf),
            ("cache_gb", cache_gb, 0, math.inf),
            ("folds", folds, 0, math.inf),
        ):
            if not low <= value <= high:
                raise InputError(
                    f"data.{name} is to be {low} or more, got {value}"
                    if high == math.inf
                    else f"data.{name} is to lie between {low} and {high}, got {value}"
                )
        if fold and not folds and split is None and stream is None:
            raise InputError(
                f"data.fold is {fold}, and there are no folds: set data.folds, or data.split to a file of them"
            )
        if stream is not None and cache is not None:
            raise InputError("data.stream and data.cache exclude each other: shards are not cached, leave out one")
        self.pairs = pairs
        self.test = test
        self.validation = validation
        self.split_seed = split_seed
        self.folds = folds
        self.fold = fold
        self.split_file = split
        self.augment = CropFlip(crop, flip, flip_vertical, turns)
        self.jitter = Jitter(exposure, white_balance)
        self.mix = Mix(mixup, cutmix)
        self.workers = workers
        self.photos = photos
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer photos than devices
        self.photos_ahead: Callable[[], PhotosAhead] | None = None
        self.resize = resize
        self.cache = None if cache is None else PhotoCache(cache, cache_gb, resize)
        self.stream = stream
        self.depth_folder = depth_folder
        self.quarantine = quarantine
        self.check = check
        self.depth: DepthModel | None = None  # of the generator; the command line sets it

    @cached_property
    def split(self) -> Split:
        """Resolve which pair serves what. Opens the manifest and no photo.

        Raises:
            InputError: if there are no pairs, or they cannot be split.
        """
        if self.pairs is None:
            raise InputError("data.pairs is not set: give a JSONL manifest, or two folders as [sources, targets]")
        return self._split() if self.quarantine is None else without(self._split(), read_quarantine(self.quarantine))

    def _split(self) -> Split:
        assert self.pairs is not None
        pairs = read_pairs(self.pairs) if not isinstance(self.pairs, PairSource) else Pairs.of(self.pairs.pairs())
        if self.split_file is not None:
            return read_split(self.split_file, pairs, self.fold)
        test = self.test
        if test is None and isinstance(self.pairs, PairSource):
            test = self.pairs.published_test()
        validation = Fold(self.fold, self.folds) if self.folds else self.validation
        return split_pairs(pairs, 5 if test is None else test, validation, self.split_seed)

    @cached_property
    def record(self) -> Record:
        """What is known of the content of the test photos without opening them."""
        if self.split_file is not None:
            return read_record(self.split_file)
        assert self.pairs is not None
        if isinstance(self.test, Path):
            return recorded_beside(self.test)
        return self.pairs.record() if isinstance(self.pairs, PairSource) else recorded_beside(self.pairs)

    def state_dict(self) -> dict[str, str]:
        """What a checkpoint keeps of the data: which test set was held out, and which photos validated."""
        if self.pairs is None:
            return {}
        validated = {} if self.stream is not None else {"validated": self._validated}
        return {"held_out": self._held_out, **validated}

    def load_state_dict(self, state_dict: dict[str, str]) -> None:
        """Say so where a checkpoint was trained with another test set held out."""
        if self._stage is TrainerFn.TESTING and state_dict.get("held_out", self._held_out) != self._held_out:
            rank_zero_info(
                "this is not the test set that was held out when the checkpoint was trained: "
                "if it was trained on some of these photos, the figures say little"
            )

    @cached_property
    def _held_out(self) -> str:
        return hash_names(self.split.test)

    @cached_property
    def _validated(self) -> str:
        return hash_names(self.split.validation)

    @property
    def _degradations(self) -> Sequence[Degradation]:
        return self.pairs.degradations if isinstance(self.pairs, PairSource) else ()

    @property
    def _stage(self) -> TrainerFn:
        assert self.trainer is not None and self.trainer.state.fn is not None
        return self.trainer.state.fn

    def prepare_data(self) -> None:
        """Check the photos that this run opens, cache them and compute their depth, once for all ranks."""
        if self.depth is not None:
            self.depth.load()  # told now if it is not there
        if self._stage is TrainerFn.PREDICTING:
            return
        if self.resize is not None:
            rank_zero_info(f"photos are reduced to a shorter side of {self.resize} pixels: metrics are of that size")
        if self.depth is not None and self._degradations:
            raise InputError(
                "the generator takes the depth of photos, and data.pairs makes bad ones of them: leave out one"
            )
        testing = self._stage is TrainerFn.TESTING
        if self.stream is not None and not testing:
            if self.depth is not None or self._degradations:
                raise InputError("data.stream holds photos alone: leave it out with depth of a model or degradations")
            self._refuse_split_of_shards()
            return  # photos were checked when they were written to shards
        if isinstance(self.pairs, PairSource):
            self.pairs.prepare()
        self._check(testing)
        if not testing:
            train = self.split.train if self._stage is TrainerFn.FITTING else []
            used = [*train, *self.split.validation] if self.cache is not None or self.depth is not None else []
            if self.cache is not None:
                self.cache.build(photos_of(used))
            self._estimate_depth(used)

    def _check(self, testing: bool) -> None:
        parts = self.split
        left_out = len(parts.left_out)
        rank_zero_info(
            f"pairs: {len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test (held out)"
            + (f", {left_out} left out (in a group of the test set, or in no part)" if left_out else "")
            + (f", {len(parts.quarantined)} left out ({self.quarantine})" if self.quarantine else "")
        )
        if testing:
            if not parts.test:
                raise InputError("no pairs are held out for the test: set data.test to more than 0")
            if not refuse_changed(parts.test, self.record):
                rank_zero_info(f"the content of the test photos is on no record: {self.record.remedy}")
        if not self.check:
            rank_zero_info("photos are not looked at before they are used: data.check is false")
            return
        refuse_shared_files(parts)
        degraded = bool(self._degradations)
        if testing:
            check_pairs(parts.test, None, "test", degraded)
        else:
            fitting = self._stage is TrainerFn.FITTING
            train = check_pairs(parts.train, self.stages.largest_crop, "training", degraded) if fitting else []
            refuse_equal_photos([*train, *check_pairs(parts.validation, None, "validation", degraded)])
        refuse_shared_content(parts, self.record, may_open_test=testing)

    def _part(self, name: Literal["train", "validation"]) -> Sequence[PairPaths]:
        if self.stream is None:
            return self.split.train if name == "train" else self.split.validation
        from hdr_lightning.data.stream import ShardPairs, refuse_small

        self._refuse_split_of_shards()
        location = f"{self.stream.rstrip('/')}/{name}"
        if name == "train":
            refuse_small(location, self.stages.largest_crop)
        return ShardPairs(location)

    def _refuse_split_of_shards(self) -> None:
        """Options that choose pairs, which nobody asks any more where shards are read."""
        chosen = {"quarantine": self.quarantine, "split": self.split_file, "folds": self.folds, "fold": self.fold}
        names = [f"data.{name}" for name, value in chosen.items() if value]
        if names:
            raise InputError(
                f"data.stream and {', '.join(names)} exclude each other: shards are split when they are written; "
                "give it to `hdr-lightning shard`, and leave it out here"
            )

    def _reader(self, pairs: Sequence[PairPaths]) -> Reader:
        return PhotoReader(self.resize) if self.cache is None else self.cache.reader(photos_of(pairs))

    @property
    def _depth_maps(self) -> DepthMaps | None:
        return None if self.depth is None else DepthMaps.of(self.depth, self.depth_folder)

    def _estimate_depth(self, pairs: Sequence[PairPaths]) -> None:
        if self.depth is not None:
            device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
            DepthMaps.of(self.depth, self.depth_folder).build([pair.source for pair in pairs], self.depth, device)

    def _training_set(self, pairs: Sequence[PairPaths], crop: int, read: Reader) -> PairDataset:
        return PairDataset(
            pairs,
            replace(self.augment, crop=crop),
            self.split_seed,
            read,
            self._degradations,
            self.jitter,
            self.mix,
            self._depth_maps,
        )

    def _whole(self, pairs: Sequence[PairPaths], read: Reader, depth: DepthMaps | None) -> PairDataset:
        return PairDataset(pairs, None, self.split_seed, read, self._degradations, depth=depth)

    def _loader(self, dataset: Dataset[Pair], batch_size: int, shuffle: bool) -> DataLoader[Pair]:
        assert self.trainer is not None
        count, ranks = len(dataset), self.trainer.world_size  # type: ignore[arg-type]
        if count < ranks:
            raise InputError(f"{count} photos cannot be shared by {ranks} processes: use fewer devices or more photos")
        return EpochLoader(
            dataset,
            batch_size=batch_size,
            sampler=EpochSampler(
                count,
                self.split_seed,
                shuffle,
                self.trainer.global_rank,
                ranks,
                fixed=self.trainer.overfit_batches > 0,  # type: ignore[attr-defined]
            ),
            num_workers=self.workers,
            # Loaders that are made anew for a stage may crash with both (pytorch issue 91252).
            persistent_workers=self.workers > 0 and len(self.stages) == 1,
            pin_memory=torch.cuda.is_available(),
            # Seeds workers, whose samples do not depend on it: the random numbers of torch are left to the training.
            generator=torch.Generator(),
            worker_init_fn=leave_signals_to_the_trainer,
        )

    def training_pairs(self, number: int) -> Iterator[Pair]:
        """Some crops as the first epoch sees them, one at a time, read here and now."""
        train = self._part("train")
        dataset = self._training_set(train, self.stages.at(0)[0].crop, PhotoReader(self.resize))
        count = min(number, len(dataset))
        photos = [step * len(dataset) // count for step in range(count)]
        if self.depth is not None:
            self._estimate_depth([train[photo] for photo in photos])  # `check-loss` prepares nothing before
        for photo in photos:
            pair = dataset[Draw(epoch=0, photo=photo)]
            yield Pair(pair.source[None], pair.target[None], pair.name, pair.depth[None])

    def validation_pairs(self, number: int) -> Iterator[Pair]:
        """The first photos that validate, one at a time, read here and now."""
        validation = self._part("validation")[:number]
        dataset = self._whole(validation, self._reader(validation), self._depth_maps)
        for photo in range(len(dataset)):
            pair = dataset[Draw(epoch=0, photo=photo)]
            yield Pair(pair.source[None], pair.target[None], pair.name, pair.depth[None])

    def train_dataloader(self) -> DataLoader[Pair]:
        assert self.trainer is not None
        stage, left = self.stages.at(self.trainer.current_epoch)
        if len(self.stages) > 1:
            # The trainer counts the batches of an epoch when it asks for the loader: let it ask at the next stage.
            self.trainer.reload_dataloaders_every_n_epochs = left  # type: ignore[attr-defined]
        train = self._part("train")
        return self._loader(self._training_set(train, stage.crop, self._reader(train)), stage.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Pair]:
        validation = self._part("validation")
        dataset = self._whole(validation, self._reader(validation), self._depth_maps)
        return self._loader(dataset, batch_size=1, shuffle=False)

    def test_dataloader(self) -> DataLoader[Pair]:
        if self._stage is not TrainerFn.TESTING:
            raise InputError("the test set is opened by `test` alone")
        return self._loader(self._whole(self.split.test, PhotoReader(self.resize), None), batch_size=1, shuffle=False)

    def open_test(self) -> PairDataset:
        """Check the held-out photos, as `test` does, and open them outside of the trainer.

        Raises:
            InputError: if there are none, one is missing or damaged, or they are not what they were.
        """
        if isinstance(self.pairs, PairSource):
            self.pairs.prepare()
        self._check(testing=True)
        return self._whole(self.split.test, PhotoReader(self.resize), None)

    def open_validation(self) -> PairDataset:
        """Check the validation photos, as `validate` does, and open them outside of the trainer.

        Raises:
            InputError: if one is missing or damaged, or they come in shards.
        """
        if self.stream is not None:
            raise InputError("data.stream holds no files of photos: give data.pairs alone to open them")
        if isinstance(self.pairs, PairSource):
            self.pairs.prepare()
        if self.check:
            check_pairs(self.split.validation, None, "validation", bool(self._degradations))
        return self._whole(self.split.validation, PhotoReader(self.resize), None)

    def predict_dataloader(self) -> PhotosAhead:
        assert self.photos_ahead is not None  # set by `callbacks.PhotoWriter`, which knows what is done already
        return self.photos_ahead()
