"""Every photo, edited by the network of the fold that has never seen it."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from hdr_lightning.data.pairs import Draw, Pair
from hdr_lightning.evaluation.photos import Photos
from hdr_lightning.inference import Enhancer

Picture = Float[Tensor, "3 _ _"]


class OutOfFold:
    """The networks of all folds, of which each edits the photos that validated it.

    Args:
        networks: of the folds.
        photos: names of those that each has not seen.
    """

    origin = "of each fold, the photos that validate it"

    def __init__(self, networks: Sequence[Enhancer], photos: Sequence[Sequence[str]]) -> None:
        self.enhancer = networks[0]  # a photo passes one, and all cost the same
        self._of = {name: network for network, own in zip(networks, photos, strict=True) for name in own}

    def picture(self, name: str, source: Picture) -> Picture:
        """Edit a photo.

        Raises:
            InputError: if that cannot be done, or the result cannot be an edit.
        """
        return self._of[name].edit(source).image


class _Joined(Dataset[Pair]):
    def __init__(self, parts: Sequence[Photos]) -> None:
        self._places = [(part.dataset, number) for part in parts for number in range(len(part))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, draw: Draw) -> Pair:
        dataset, number = self._places[draw.photo]
        return dataset[Draw(draw.epoch, number)]


def join(parts: Sequence[Photos]) -> Photos:
    """Photos of several data sets as one."""
    names = [name for part in parts for name in part.names]
    groups = [group for part in parts for group in part.groups]
    return Photos(_Joined(parts), names, groups, all(part.targets for part in parts))
