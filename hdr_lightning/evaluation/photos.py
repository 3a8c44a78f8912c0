"""The photos of an evaluation, with their targets where there are any."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.manifest import list_photos, read_pairs
from hdr_lightning.data.of_run import data_of_run
from hdr_lightning.data.pairs import Draw, Pair, PairDataset


class Photo(NamedTuple):
    """A photo and what it should become, where that is known."""

    source: Float[Tensor, "3 _ _"]
    target: Float[Tensor, "3 _ _"] | None


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


class Photos:
    """Photos that are read one at a time.

    Args:
        dataset: whole photos.
        names: of the photos.
        groups: their scenes.
        targets: whether their targets are known.
    """

    def __init__(self, dataset: Dataset[Pair], names: Sequence[str], groups: Sequence[str], targets: bool) -> None:
        self.dataset = dataset
        self.names = list(names)
        self.groups = list(groups)
        self.targets = targets

    def __len__(self) -> int:
        return len(self.names)

    def read(self, number: int) -> Photo:
        """Read a photo.

        Raises:
            InputError: if it, or its target, cannot be read.
        """
        pair = self.dataset[Draw(0, number)]
        return Photo(pair.source, pair.target if self.targets else None)

    def first(self, number: int | None) -> "Photos":
        """The first few, or all of them."""
        return Photos(self.dataset, self.names[:number], self.groups[:number], self.targets)


def photos_of_pairs(pairs: Sequence[Path]) -> Photos:
    """The photos of a manifest, of a folder of sources and one of targets, or of one folder without targets.

    Raises:
        InputError: if there are none.
    """
    if len(pairs) == 1 and pairs[0].is_dir():
        listed = list_photos(pairs[0])
        names = [photo.name for photo in listed]
        return Photos(PhotoDataset(listed), names, names, targets=False)
    return _with_targets(PairDataset(read_pairs(pairs[0] if len(pairs) == 1 else tuple(pairs))))


def held_out_photos(config: Path) -> Photos:
    """The test set of a run, checked as `test` checks it.

    Args:
        config: `config.yaml` of the run.

    Raises:
        InputError: if it is none, or the test photos are not what they were.
    """
    return _with_targets(data_of_run(config).open_test())


def validation_photos(config: Path) -> Photos:
    """The photos by which a run chose its weights, checked as `validate` checks them.

    Args:
        config: `config.yaml` of the run.

    Raises:
        InputError: if it is none, or the photos cannot be used.
    """
    return _with_targets(data_of_run(config).open_validation())


def _with_targets(dataset: PairDataset) -> Photos:
    pairs = list(dataset.pairs)
    return Photos(dataset, [pair.name for pair in pairs], [pair.group for pair in pairs], targets=True)
