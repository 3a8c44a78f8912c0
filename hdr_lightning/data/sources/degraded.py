"""Clean photos, from which bad ones are made on reading."""

import os
from collections.abc import Sequence
from pathlib import Path

from hdr_lightning.data.manifest import PairPaths, read_pairs
from hdr_lightning.data.sources.base import PairSource, pair_of, photos_below, require_folder
from hdr_lightning.data.sources.degradations import Degradation
from hdr_lightning.errors import InputError


class DegradedPhotos(PairSource):
    """Clean photos as targets; their sources are made on reading, of the crop, by one degradation after the other.

    Training sees another draw in each epoch; validation and test always see the same one for the same photo.

    Args:
        photos: a folder, in which the photos of a subfolder are one group; or a JSONL manifest, whose targets are used.
        degradations: what is done, in this order, such as blur, then noise, then JPEG.

    Raises:
        InputError: if nothing is done.
    """

    def __init__(self, photos: Path, degradations: list[Degradation]) -> None:
        if not degradations:
            raise InputError("data.pairs.degradations is empty: name at least one, such as GaussianBlur")
        self.photos = photos
        self.folder = photos.parent if photos.is_file() else photos
        self.degradations: Sequence[Degradation] = degradations

    def pairs(self) -> list[PairPaths]:
        if self.photos.is_file():
            by_target = {pair.target: pair for pair in read_pairs(self.photos)}  # several sources may share a target
            return [
                PairPaths(Path(os.path.relpath(path, self.folder)).as_posix(), path, path, pair.group)
                for path, pair in by_target.items()
            ]
        photos = photos_below(require_folder(self.photos, "clean photos"))
        if not photos:
            raise InputError(f"{self.photos}: expected clean photos in this folder or below, found none")
        return [pair_of(path, path, self.folder, self._group(path)) for path in photos]

    @property
    def manifest(self) -> Path:
        return self.photos if self.photos.is_file() else super().manifest

    def _group(self, path: Path) -> str:
        return path.parent.relative_to(self.folder).as_posix() if path.parent != self.folder else ""
