"""What a data set of pairs has to say about itself, whatever its layout."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hdr_lightning.data.contents import Record, recorded_beside
from hdr_lightning.data.files import PHOTO_SUFFIXES
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.data.sources.degradations import Degradation
from hdr_lightning.errors import InputError


class PairSource(ABC):
    """Pairs laid out as their publisher ships them.

    Attributes:
        folder: where they lie.
        degradations: what is done, in this order, to a target to make its source on reading; nothing where sources are
            photos of their own.
    """

    folder: Path
    degradations: Sequence[Degradation] = ()

    @abstractmethod
    def pairs(self) -> list[PairPaths]:
        """List all pairs, those of a published test set too. Reads folders and no photo.

        Raises:
            InputError: if the layout is another one, or a photo has no partner.
        """

    def published_test(self) -> list[str] | None:
        """Name the pairs that the publisher holds out; nothing where no split is published.

        Raises:
            InputError: if a split is published, and none of its test photos are there.
        """
        return None

    def prepare(self) -> None:  # noqa: B027 - most sources have nothing to prepare
        """Do the long work that comes once, such as fusing targets; what is done already is left as it is.

        Raises:
            InputError: if it cannot be done.
        """

    @property
    def manifest(self) -> Path:
        """Where `write-manifest` lists the pairs; `SHA256SUMS` of the photos lies beside it."""
        return self.folder / "pairs.jsonl"

    def record(self) -> Record:
        """What `fingerprint` left beside the manifest about the content of the photos."""
        found = recorded_beside(self.manifest)
        if self.manifest.is_file():
            return found
        first = f"run `hdr-lightning write-manifest --pairs={type(self).__name__}` with the options of data.pairs"
        return replace(found, remedy=f"{first}, then `hdr-lightning fingerprint {self.manifest}` writes {found.file}")


def require_folder(folder: Path, what: str) -> Path:
    """Give a folder back that is there.

    Args:
        folder: the folder.
        what: what it has to hold, and how people get there.

    Raises:
        InputError: if it is missing; names what its parent holds instead.
    """
    if folder.is_dir():
        return folder
    found = "there is no such folder"
    if folder.parent.is_dir():
        inside = sorted(child.name + ("/" if child.is_dir() else "") for child in folder.parent.iterdir())
        found = f"{folder.parent} holds {', '.join(inside[:8]) or 'nothing'}{', ...' if len(inside) > 8 else ''}"
    raise InputError(f"expected {what} in {folder}, but {found}: set the folder to where the data set lies")


def photos_below(folder: Path, suffixes: frozenset[str] = PHOTO_SUFFIXES) -> list[Path]:
    """List the photos of a folder and of those in it, by path; hidden files (as macOS leaves them) are none."""
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def match(
    sources: Sequence[Path], targets: Sequence[Path], key: Callable[[Path], str], root: Path, where: str
) -> list[PairPaths]:
    """Pair photos whose keys are equal; each is named by its source's path below the root.

    Args:
        sources: unedited photos.
        targets: edited photos, one for each source.
        key: what a photo shares with its partner.
        root: the data set's folder.
        where: where both were looked for, for the error.

    Raises:
        InputError: if there are none, two share a key, or one has no partner.
    """
    if not sources or not targets:
        raise InputError(f"{where}: expected photos in both, found {len(sources)} sources and {len(targets)} targets")
    unedited, edited = _by_key(sources, key), _by_key(targets, key)
    for own, other, missing in ((unedited, edited, "target"), (edited, unedited, "source")):
        alone = sorted(own.keys() - other.keys())
        if alone:
            raise InputError(
                f"{own[alone[0]]} has no {missing} ({len(alone)} of {len(own)} have none; {where}): "
                "complete the data set, or remove what has no partner"
            )
    return [pair_of(unedited[each], edited[each], root) for each in sorted(unedited)]


def pair_of(source: Path, target: Path, root: Path, group: str = "") -> PairPaths:
    """Name a pair by its source's path below the root; without a group it is its own."""
    return PairPaths(source.relative_to(root).as_posix(), source, target, group or str(source))


def _by_key(photos: Sequence[Path], key: Callable[[Path], str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for photo in photos:
        first = found.setdefault(key(photo), photo)
        if first != photo:
            raise InputError(f"{first} and {photo} are one photo by their names: keep one")
    return found
