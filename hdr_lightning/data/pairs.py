"""The data set of pairs, and the order in which an epoch goes through it.

What a sample looks like depends on (seed, epoch, photo) alone, whatever the number of workers and ranks: the sampler
says which epoch it draws for, and the data set makes a random generator of those three numbers.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from hdr_lightning.data.augment import CropFlip
from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.data.sources.degradations import Degradation, degrade


class Pair(NamedTuple):
    """A pair, or a batch of pairs.

    Attributes:
        source: unedited, RGB, sRGB-encoded, [0, 1].
        target: edited, of the same size.
        name: what people call the pair; one for each pair of a batch.
    """

    source: Float[Tensor, "*n 3 h w"]
    target: Float[Tensor, "*n 3 h w"]
    name: str | list[str]


class Draw(NamedTuple):
    """One sample to be made."""

    epoch: int
    photo: int


class PairDataset(Dataset[Pair]):
    """Pairs read from their files.

    Args:
        pairs: where they lie.
        augment: random changes, or nothing for whole photos as they are.
        seed: of the random changes.
        degradations: what makes the source of the target; without augmentation always the same for the same name.
    """

    def __init__(
        self,
        pairs: Sequence[PairPaths],
        augment: CropFlip | None = None,
        seed: int = 0,
        degradations: Sequence[Degradation] = (),
    ) -> None:
        self.pairs = list(pairs)
        self.augment = augment
        self.seed = seed
        self.degradations = degradations

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw) -> Pair:
        paths = self.pairs[draw.photo]
        target = read_photo(paths.target).pixels
        source = target if self.degradations else read_photo(paths.source).pixels
        rng = np.random.default_rng([self.seed, draw.epoch, draw.photo])
        if self.augment is not None:
            source, target = self.augment(source, target, rng)
        if self.degradations:
            if self.augment is None:
                rng = np.random.default_rng([self.seed, zlib.crc32(paths.name.encode())])
            source = degrade(target, self.degradations, rng)
        return Pair(to_tensor(source), to_tensor(target), paths.name)


class EpochSampler(Sampler[Draw]):
    """The share of one rank of an epoch: no photo twice, and none left out in evaluation.

    Args:
        count: photos in the data set.
        seed: of the order.
        shuffle: whether the order changes from epoch to epoch. Then ranks get equally many, and the few photos that do
            not divide evenly wait for another epoch.
        rank: this process.
        ranks: all processes.
    """

    def __init__(self, count: int, seed: int = 0, shuffle: bool = False, rank: int = 0, ranks: int = 1) -> None:
        self.count = count
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def _indices(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.rank, self.count, self.ranks))
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        even = self.count - self.count % self.ranks
        return [int(index) for index in order[self.rank : even : self.ranks]]

    def __len__(self) -> int:
        return len(self._indices())

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(self.epoch, index) for index in self._indices())
