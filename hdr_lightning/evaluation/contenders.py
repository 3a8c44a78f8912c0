"""What takes part in an evaluation: networks, and folders of pictures that were made elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from hdr_lightning.data.files import PHOTO_SUFFIXES, read_photo, to_tensor
from hdr_lightning.data.sources.base import photos_below
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import SOURCE
from hdr_lightning.inference import Editing, Enhancer, load
from hdr_lightning.inference.enhancer import Device

NETWORK_SUFFIXES = frozenset({".ckpt", ".safetensors", ".onnx", ".pt2"})
"""Of files that hold a network; a folder with one of them, or below it, is no folder of pictures."""

Picture = Float[Tensor, "3 _ _"]


class Named(NamedTuple):
    """What was given, under the name that it has in tables."""

    name: str
    path: Path


@runtime_checkable
class Candidate(Protocol):
    """What takes part."""

    origin: str
    """Where it comes from, in words: a checkpoint or folder."""

    @property
    def enhancer(self) -> Enhancer | None:
        """What edits the photos, where a network does."""

    def picture(self, name: str, source: Picture) -> Picture:
        """What it makes of a photo.

        Args:
            name: of the photo.
            source: the photo.

        Raises:
            InputError: if it makes nothing of it.
        """


class Network:
    """A trained network, or the average of several.

    Args:
        enhancer: which.
        origin: where it comes from, in words.
    """

    def __init__(self, enhancer: Enhancer, origin: str) -> None:
        self.enhancer = enhancer
        self.origin = origin

    def picture(self, name: str, source: Picture) -> Picture:
        """Edit a photo.

        Raises:
            InputError: if that cannot be done, or the result cannot be an edit.
        """
        return self.enhancer.edit(source).image


class Pictures:
    """A folder of pictures that were made elsewhere, called like the photos that they were made of.

    `input/room.jpg` is looked for as `input/room.*`, then as `room.*`, in any format.

    Args:
        folder: where they lie, or folders of them.
        names: of the photos.

    Raises:
        InputError: if two pictures share a name, no photo has a picture, or one picture would be that of two photos.
    """

    enhancer = None

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.origin = str(folder)
        self._pictures: dict[str, Path] = {}
        for path in photos_below(folder):
            first = self._pictures.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
            if first != path:
                raise InputError(f"{first} and {path} are pictures of one photo by their names: keep one")
        found = {name: self._find(name) for name in names}
        owners: dict[Path, str] = {}
        for name, picture in found.items():
            if picture is not None and owners.setdefault(picture, name) != name:
                raise InputError(
                    f"{picture} would be the picture of {owners[picture]} and of {name}: give both folders of pictures "
                    "the layout of the photos"
                )
        if not owners:
            raise InputError(
                f"{folder}: none of its {len(self._pictures)} pictures is called like a photo, such as {names[0]}"
            )

    def _find(self, name: str) -> Path | None:
        parts = Path(name).with_suffix("").parts
        keys = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self._pictures[key] for key in keys if key in self._pictures), None)

    def picture(self, name: str, source: Picture) -> Picture:
        """Read the picture of a photo.

        Raises:
            InputError: if there is none, or it cannot be read.
        """
        path = self._find(name)
        if path is None:
            raise InputError(f"{self.folder} holds no picture called {Path(name).with_suffix('').name}")
        return to_tensor(read_photo(path).pixels)


def is_pictures(path: Path) -> bool:
    """Tell a folder of pictures from a file or folder that holds a network."""
    if not path.is_dir():
        return False
    suffixes = {file.suffix.lower() for file in path.rglob("*")}
    return bool(suffixes & PHOTO_SUFFIXES) and not suffixes & NETWORK_SUFFIXES


def load_candidate(
    named: Named, names: Sequence[str], device: Device, editing: Editing, modules: Sequence[str]
) -> Candidate:
    """Load what takes part.

    Args:
        named: a checkpoint, the folder of a run, an export, or a folder of pictures.
        names: of the photos.
        device: where networks compute.
        editing: how they enhance.
        modules: Python modules to import first, for generators of your own.

    Raises:
        InputError: if it is none of these, or does not fit the photos.
    """
    if is_pictures(named.path):
        return Pictures(named.path, names)
    return Network(load(named.path, device, editing, modules), str(named.path))


def name_contenders(given: Sequence[Path]) -> list[Named]:
    """Give each contender the shortest name of its own: the last parts of its path, or NAME of NAME=PATH.

    >>> [each.name for each in name_contenders([Path("runs/a/checkpoints/best.ckpt"), Path("b/a"), Path("new=c/d")])]
    ['runs/a', 'b/a', 'new']

    Raises:
        InputError: if one is not there, or two would have the same name.
    """
    asked = [_split(path) for path in given]
    parts = [_parts(path) for _, path in asked]
    found = []
    for number, (name, path) in enumerate(asked):
        others = parts[:number] + parts[number + 1 :]
        length = 1
        while length < len(parts[number]) and any(other[-length:] == parts[number][-length:] for other in others):
            length += 1
        found.append(Named(name or "/".join(parts[number][-length:]), path))
    for number, (name, path) in enumerate(found):
        if name == SOURCE or name in [each.name for each in found[:number]]:
            raise InputError(f"{path}: another contender is called {name}: give it a name of its own as NAME=PATH")
    return found


def _split(given: Path) -> tuple[str, Path]:
    name, sign, path = str(given).partition("=")
    if sign and not given.exists():
        return name, Path(path)
    return "", given


def _parts(path: Path) -> tuple[str, ...]:
    """A path as people call it: of `runs/a/checkpoints/best.ckpt`, runs and a."""
    whole = path.with_suffix("") if path.suffix.lower() in NETWORK_SUFFIXES else path
    parts = [part for part in whole.parts if part not in ("checkpoints", "/", "..")]
    return tuple(parts[:-1] if len(parts) > 1 and parts[-1] == "best" else parts) or (path.resolve().name,)
