"""Depth of training photos, computed once and kept in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError

import numpy as np
import platformdirs
import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.data.augment import Place
from hdr_lightning.data.files import content_hash, read_photo, to_tensor, writing
from hdr_lightning.errors import InputError
from hdr_lightning.features.depth import DepthModel, enlarge
from hdr_lightning.progress import track


def default_folder() -> Path:
    """Where depth is kept if nothing else is said: below the cache folder of the user."""
    return platformdirs.user_cache_path("hdr_lightning") / "depth"


@dataclass(frozen=True)
class DepthMaps:
    """The depth that one model gave for photos, each under the hash of its photo's content.

    A changed photo, or another model, has another name: nothing old is ever taken for new. Nothing is removed, either:
    a map takes about 1.6 MB (Depth Anything at 3:2), and the folder can be deleted between runs.

    Attributes:
        folder: of this model.
    """

    folder: Path

    @classmethod
    def of(cls, model: DepthModel, root: Path | None) -> "DepthMaps":
        """The maps of a model, below a folder for all models."""
        return cls((root or default_folder()) / model.fingerprint)

    def path(self, photo: Path) -> Path:
        """The file with the depth of a photo, whether it is there or not."""
        status = photo.stat()
        return self.folder / f"{_hash(photo, status.st_size, status.st_mtime_ns)}.npy"

    def build(self, photos: Sequence[Path], model: DepthModel, device: torch.device) -> None:
        """Compute what is not there yet or is damaged, and show how far it is.

        Raises:
            InputError: if a photo cannot be read, or the folder not be written.
        """
        missing = [photo for photo in photos if not _is_sound(self.path(photo))]
        for photo in track(missing, "estimating depth", len(missing)):
            depth = model.estimate(to_tensor(read_photo(photo).pixels).to(device))
            with writing(self.path(photo)) as temporary, temporary.open("wb") as file:
                np.save(file, depth.cpu().numpy())

    def read(
        self, photo: Path, height: int, width: int, place: Place | None = None
    ) -> Float[Tensor, "1 h w"] | Float[Tensor, "1 crop crop"]:
        """The depth of a photo of this size, or of a place in it, turned as the place is.

        Raises:
            InputError: if it has not been computed, or is damaged.
        """
        path = self.path(photo)
        try:
            depth = torch.from_numpy(np.load(path))
        except FileNotFoundError:
            raise InputError(
                f"{photo}: its depth is not in {self.folder}: was the photo changed while in use?"
            ) from None
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path}: the depth of {photo} is damaged ({error}): remove this file") from None
        if place is None:
            return enlarge(depth, height, width)[0]
        crop = enlarge(depth, height, width, place.window)[0].permute(1, 2, 0).numpy()
        return torch.from_numpy(np.ascontiguousarray(place.turn(crop))).permute(2, 0, 1)


def _is_sound(path: Path) -> bool:
    """Tell whether a file is there and holds a map, of which the header alone is read."""
    try:
        depth = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, OverflowError, TokenError):  # what headers of noise end in
        return False
    return depth.dtype == np.float32 and depth.ndim == 4 and depth.shape[:2] == (1, 1)


@lru_cache(maxsize=1 << 16)
def _hash(photo: Path, size: int, modified: int) -> str:
    """Computed once a process for a file that stays as it is."""
    return content_hash(photo)
