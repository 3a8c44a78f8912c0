"""Which photos are the same, told by their content, and which test photos have changed.

Training may not open a photo of the test set, not even to compare it. So that a test photo cannot hide among the
training photos under another name, files are compared by size first, which needs no opening, and by content where sizes
agree: through recorded hashes for the test set, through the files themselves for the rest.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdr_lightning.data.files import content_hash, writing
from hdr_lightning.data.manifest import PairPaths, lines_of, photos_of, read_pairs, relative_name
from hdr_lightning.data.splits import Split
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

SUMS = "SHA256SUMS"
REMEDY = 'keep it in one of them, or give the pairs a common "group"'


@dataclass(frozen=True)
class Record:
    """Content of test photos, as it was when somebody wrote it down.

    Attributes:
        file: where.
        hashes: SHA-256 in hexadecimal, by resolved path.
        remedy: what brings the record up to date.
        ages: whether it says nothing of photos that are newer than itself; a file that is kept under version control
            is as new as its last checkout.
    """

    file: Path
    hashes: Mapping[Path, str]
    remedy: str
    ages: bool

    def look_up(self, path: Path, other: Path) -> str:
        """Hash of a test photo, which may be the same as another photo.

        Raises:
            InputError: if it is not known.
        """
        digest = self.hashes.get(path.resolve())
        if digest is None or (self.ages and path.stat().st_mtime > self.file.stat().st_mtime):
            raise InputError(
                f"{other} has as many bytes as {path} of the test set, so they may be the same photo, and training may "
                f"not open test photos to see: {self.remedy}"
            )
        return digest


def recorded_beside(origin: Path | Sequence[Path]) -> Record:
    """What `fingerprint` left beside a manifest, or a pair of folders."""
    sums = sums_beside(origin)
    words = " ".join(map(str, [origin] if isinstance(origin, Path) else origin))
    remedy = f"run `hdr-lightning fingerprint {words}` once, which writes {sums}"
    return Record(sums, read_sums(sums), remedy, ages=True)


def _identity(path: Path) -> tuple[int, int] | str:
    """What makes a file itself, links seen through; its path where it is missing, which the check of photos reports."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute())
    return (status.st_dev, status.st_ino) if status.st_ino else str(path.resolve())


def refuse_shared_files(parts: Split) -> None:
    """Refuse a file that lies in two parts, links seen through.

    Raises:
        InputError: naming both.
    """
    owner: dict[tuple[int, int] | str, tuple[str, Path]] = {}
    for part, pairs in parts.items():
        for path in photos_of(pairs):
            first, other = owner.setdefault(_identity(path), (part, path))
            if first != part:
                raise InputError(f"{path} of the {part} set is the same file as {other} of the {first} set: {REMEDY}")


def refuse_shared_content(parts: Split, record: Record, may_open_test: bool) -> None:
    """Refuse photos of one part that lie in another part under another name.

    Args:
        parts: the split; files that are not there are left out, with a warning.
        record: hashes of the test set, consulted where test photos may not be opened.
        may_open_test: whether this is the test itself.

    Raises:
        InputError: if a content is in two parts; or if that cannot be told without opening a test photo.
    """
    where = [(part, path) for part, pairs in parts.items() for path in photos_of(pairs)]
    by_size: dict[int, list[tuple[str, Path]]] = {}
    there = [(part, path) for part, path in where if path.is_file()]
    if len(there) < len(where):
        warnings.warn(
            f"{len(where) - len(there)} of {len(where)} photos are not on this machine: "
            "whether they share content with the others was not checked",
            stacklevel=2,
        )
    for part, path in there:
        by_size.setdefault(path.stat().st_size, []).append((part, path))
    for alike in by_size.values():
        if len({part for part, _ in alike}) < 2:
            continue
        owner: dict[str, tuple[str, Path]] = {}
        for part, path in alike:
            if part == "test" and not may_open_test:
                digest = record.look_up(path, next(other for name, other in alike if name != "test"))
            else:
                digest = content_hash(path)
            first, other = owner.setdefault(digest, (part, path))
            if first != part:
                raise InputError(f"{path} of the {part} set has the content of {other} of the {first} set: {REMEDY}")


def refuse_changed(pairs: Sequence[PairPaths], record: Record) -> int:
    """Refuse test photos that are not what they were when their content was recorded.

    Returns:
        How many photos have a record.

    Raises:
        InputError: naming the first that changed.
    """
    photos = [path for path in dict.fromkeys(photos_of(pairs)) if path.is_file()]
    recorded = [path for path in photos if path.resolve() in record.hashes]
    if not record.ages and len(recorded) < len(photos):
        unknown = next(path for path in photos if path.resolve() not in record.hashes)
        raise InputError(f"{record.file} says nothing of {unknown} of the test set: {record.remedy}")
    for path in track(recorded, "comparing test photos with their record", len(recorded)):
        if content_hash(path) != record.hashes[path.resolve()]:
            raise InputError(
                f"{path} of the test set is not the photo that {record.file} records: figures would not compare with "
                f"earlier ones; bring the photo back, or, if it was changed on purpose, {record.remedy}"
            )
    return len(recorded)


def sums_beside(origin: Path | Sequence[Path]) -> Path:
    """The file of hashes that belongs to a manifest, or to a pair of folders."""
    return (origin if isinstance(origin, Path) else origin[0]).parent / SUMS


def fingerprint(pairs: Sequence[Path]) -> Path:
    """Record the content of all photos of a data set, so that training can tell test photos apart without opening them.

    Writes `SHA256SUMS` beside the manifest or the source folder, which the command `sha256sum -c` understands too.

    Args:
        pairs: a JSONL manifest, or a folder of sources and a folder of targets.

    Returns:
        The file written.

    Raises:
        InputError: if there are no such pairs, or a photo is missing.
    """
    origin = pairs[0] if len(pairs) == 1 else pairs
    paths = sorted({path.resolve() for path in photos_of(read_pairs(origin))})
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    sums = sums_beside(origin)
    number = write_sums(paths, sums)
    print(f"{sums}: {number} photos")
    return sums


def write_sums(paths: Sequence[Path], sums: Path) -> int:
    """Record the content of photos, in the format of the command sha256sum, paths relative to the file.

    What the file says of other photos, which belong to another manifest in its folder, it goes on saying.

    Returns:
        How many photos it records.
    """
    others = {path: digest for path, digest in read_sums(sums).items() if path.is_file()}
    hashes = others | {path: content_hash(path) for path in track(paths, "fingerprinting", len(paths))}
    with writing(sums) as temporary:
        lines = [f"{digest}  {relative_name(path, sums.parent)}\n" for path, digest in sorted(hashes.items())]
        temporary.write_text("".join(lines), encoding="utf-8")
    return len(hashes)


def read_sums(sums: Path) -> dict[Path, str]:
    """Read recorded hashes by resolved path; nothing where there is no such file."""
    if not sums.is_file():
        return {}
    rows = (line.rstrip("\r").split(maxsplit=1) for _, line in lines_of(sums))
    return {(sums.parent / row[1].lstrip("*")).resolve(): row[0].lower() for row in rows if len(row) == 2}
