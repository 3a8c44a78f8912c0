"""The data set of pairs, and the order in which an epoch goes through it.

What a sample looks like depends on (seed, epoch, photo) alone, whatever the number of workers and ranks: the sampler
says which epoch it draws for, and the data set makes a random generator of those three numbers.
"""

import time
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from hdr_lightning.data.augment import CropFlip, Jitter, Mix
from hdr_lightning.data.cache import PhotoReader, Reader
from hdr_lightning.data.depth_maps import DepthMaps
from hdr_lightning.data.files import Pixels, to_tensor
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.data.sources.degradations import Degradation, degrade
from hdr_lightning.errors import InputError

NOTHING = torch.empty(0)


class Pair(NamedTuple):
    """A pair, or a batch of pairs.

    Attributes:
        source: unedited, RGB, sRGB-encoded, [0, 1].
        target: edited, of the same size.
        name: what people call the pair; one for each pair of a batch.
        depth: of the source by a model, where the generator takes it; else no values.
    """

    source: Float[Tensor, "*n 3 h w"]
    target: Float[Tensor, "*n 3 h w"]
    name: str | list[str]
    depth: Float[Tensor, "*n 1 h w"] | Float[Tensor, "*n 0"] = NOTHING

    @property
    def input(self) -> Float[Tensor, "*n c h w"]:
        """What the generator is given: the source, and its depth behind it where there is one."""
        return torch.cat((self.source, self.depth), dim=-3) if self.depth.numel() else self.source


class Draw(NamedTuple):
    """One sample to be made."""

    epoch: int
    photo: int


class PairDataset(Dataset[Pair]):
    """Pairs read from their files.

    Args:
        pairs: where they lie.
        augment: where crops are cut, or nothing for whole photos as they are.
        seed: of the random changes.
        read: from the file of a photo to its pixels.
        degradations: what makes a source of its target; without crops always the same for the same name.
        jitter: another light on the source of a crop.
        mix: what is mixed into a crop.
        depth: the depth of the sources, where the generator takes it.
    """

    def __init__(
        self,
        pairs: Sequence[PairPaths],
        augment: CropFlip | None = None,
        seed: int = 0,
        read: Reader = PhotoReader(),  # noqa: B008 - immutable
        degradations: Sequence[Degradation] = (),
        jitter: Jitter = Jitter(),  # noqa: B008 - immutable
        mix: Mix = Mix(),  # noqa: B008 - immutable
        depth: DepthMaps | None = None,
    ) -> None:
        self.pairs = pairs
        self.augment = augment
        self.seed = seed
        self.read = read
        self.degradations = degradations
        self.jitter = jitter
        self.mix = mix
        self.depth = depth

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw) -> Pair:
        if self.augment is None:
            return self._read(draw.photo)
        rng = np.random.default_rng([self.seed, draw.epoch, draw.photo])
        pair = self._crop(draw.photo, self.augment, rng)
        weight = self.mix.draw(self.augment.crop, rng)
        if weight is None:
            return pair
        other = self._crop(int(rng.integers(len(self.pairs))), self.augment, rng)
        source, target = (torch.lerp(*both, weight) for both in zip(other[:2], pair[:2], strict=True))
        depth = torch.lerp(other.depth, pair.depth, weight) if self.depth else NOTHING
        return Pair(source, target, pair.name, depth)

    def _read(self, photo: int) -> Pair:
        """A whole pair as it is."""
        paths, source, target = self._open(photo)
        if self.degradations:
            rng = np.random.default_rng([self.seed, zlib.crc32(paths.name.encode())])
            source = degrade(target, self.degradations, rng)
        depth = self.depth.read(paths.source, *source.shape[:2]) if self.depth else NOTHING
        return Pair(to_tensor(source), to_tensor(target), paths.name, depth)

    def _crop(self, photo: int, augment: CropFlip, rng: np.random.Generator) -> Pair:
        """A pair, changed by itself."""
        paths, source, target = self._open(photo)
        height, width = source.shape[:2]
        try:
            place = augment.draw(height, width, rng)
        except InputError as error:
            raise InputError(f"{paths.name}: {error}") from None
        source, target = place.cut(source), place.cut(target)
        if self.degradations:
            source = degrade(target, self.degradations, rng)
        source = self.jitter(source, rng)
        depth = self.depth.read(paths.source, height, width, place) if self.depth else NOTHING
        return Pair(to_tensor(source), to_tensor(target), paths.name, depth)

    def _open(self, photo: int) -> tuple[PairPaths, Pixels, Pixels]:
        paths = self.pairs[photo]
        target = self.read(paths.target)
        return paths, target if self.degradations else self.read(paths.source), target


class EpochSampler(SequentialSampler):  # which alone `trainer.overfit_batches` leaves in its place
    """The share of one rank of an epoch: no photo twice, and none left out in evaluation.

    Args:
        count: photos in the data set.
        seed: of the order.
        shuffle: whether the order changes from epoch to epoch. Then ranks get equally many, and the few photos that do
            not divide evenly wait for another epoch.
        rank: this process.
        ranks: all processes.
        fixed: whether every epoch has the order of the first.
    """

    def __init__(
        self, count: int, seed: int = 0, shuffle: bool = False, rank: int = 0, ranks: int = 1, fixed: bool = False
    ) -> None:
        super().__init__(range(count))
        self.count = count
        self.fixed = fixed
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0
        self.resumed = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def resume(self, epoch: int, done: int) -> None:
        """Leave out the photos of an epoch that all ranks together have drawn already."""
        self.resumed = (epoch, done)

    @property
    def done(self) -> int:
        """Photos of this epoch that were drawn before it was resumed."""
        epoch, done = self.resumed
        return done if epoch == self.epoch else 0

    def _indices(self) -> Int64[np.ndarray, " share"]:
        if not self.shuffle:
            return np.arange(self.rank, self.count, self.ranks)
        order = np.random.default_rng([self.seed, 0 if self.fixed else self.epoch]).permutation(self.count)[self.done :]
        even = len(order) - len(order) % self.ranks
        return order[self.rank : even : self.ranks]

    def __len__(self) -> int:
        if self.shuffle:
            return self.count // self.ranks
        return len(range(self.rank, self.count, self.ranks))

    def __iter__(self) -> Iterator[Draw]:  # type: ignore[override]
        epoch = self.epoch
        return (Draw(epoch, int(index)) for index in self._indices())


class EpochLoader(DataLoader[Pair]):
    """A loader that begins when its first batch is asked for, and goes on in the middle of an epoch.

    The trainer makes iterators that it throws away, and when it resumes it makes one before it knows the epoch: workers
    that began at once would read for nothing, or in the order of another epoch.

    Attributes:
        waited: seconds that were spent waiting for batches.
    """

    waited = 0.0
    _place = (0, 0)

    def __iter__(self) -> Iterator[Pair]:  # type: ignore[override]
        if not isinstance(self.sampler, EpochSampler):  # the trainer wraps that of `predict`
            yield from super().__iter__()
            return
        epoch, done = self.sampler.epoch, self.sampler.done
        asked = time.monotonic()
        for number, batch in enumerate(super().__iter__(), start=1):
            self.waited += time.monotonic() - asked
            self._place = (epoch, done + number * self.share)
            yield batch
            asked = time.monotonic()

    @property
    def share(self) -> int:
        """Samples that all ranks together take with a batch each."""
        assert isinstance(self.sampler, EpochSampler) and self.batch_size is not None
        return self.batch_size * self.sampler.ranks

    def state_dict(self) -> dict[str, int]:
        """The place in the training, counted in samples of all ranks, so that another number of them can go on."""
        assert isinstance(self.sampler, EpochSampler)
        epoch, samples = self._place
        return {"epoch": epoch, "samples": samples, "share": self.share, "count": self.sampler.count}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there."""
        assert isinstance(self.sampler, EpochSampler)
        self.sampler.resume(state_dict["epoch"], state_dict["samples"])
