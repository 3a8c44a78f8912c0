"""Photos on which exports are calibrated and compared."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from hdr_lightning.data.files import PHOTO_SUFFIXES, Pixels, read_photo
from hdr_lightning.data.manifest import Pairs, read_pairs
from hdr_lightning.data.of_run import data_of_run
from hdr_lightning.data.rooms import write_demo_set
from hdr_lightning.data.sources.base import photos_below
from hdr_lightning.data.splits import Split
from hdr_lightning.errors import InputError

T = TypeVar("T")


class Sample(NamedTuple):
    """A photo to compare on.

    Attributes:
        source: its pixels.
        target: those of its edit, where there is one.
    """

    source: Pixels
    target: Pixels | None


def named_samples(path: Path, number: int) -> list[Sample]:
    """Read some of the photos that a user names.

    Args:
        path: a manifest of pairs, a folder of photos, or a photo.
        number: how many, evenly spread.

    Raises:
        InputError: if there are none, or one cannot be read.
    """
    if path.is_dir():
        photos = photos_below(path)
    elif path.suffix.lower() in PHOTO_SUFFIXES:
        photos = [path]
    else:
        return pair_samples(read_pairs(path), number)
    if not photos:
        raise InputError(f"{path}: the folder holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return [Sample(read_photo(photo).pixels, None) for photo in spread(photos, number)]


def pair_samples(pairs: Pairs, number: int) -> list[Sample]:
    """Read some of the pairs, evenly spread."""
    chosen = spread(pairs, number)
    return [Sample(read_photo(pair.source).pixels, read_photo(pair.target).pixels) for pair in chosen]


def spread(items: Sequence[T], number: int) -> list[T]:
    """So many items at equal distances, or all if there are fewer."""
    number = min(number, len(items))
    return [items[index * len(items) // number] for index in range(number)]


def run_split(checkpoint: Path) -> Split | None:
    """The photos of the run that a checkpoint lies in; nothing where its configuration or its photos are not there."""
    saved = checkpoint.parent.parent / "config.yaml"
    if not saved.is_file():
        return None
    try:
        split = data_of_run(saved).split
        read_photo(split.train[0].source)
    except InputError:
        return None  # they moved; the caller says what is taken instead
    return split


def rooms(number: int) -> list[Sample]:
    """Render rooms, where there are no photos."""
    with TemporaryDirectory() as folder:
        return pair_samples(read_pairs(write_demo_set(Path(folder) / "rooms", number, (320, 480), seed=1)), number)
