"""Decoded photos in memory-mapped files, so that an epoch reads pixels instead of decoding them again.

A photo is kept under the hash of its file's content, in a folder for its reduced size and for the versions of what
decoded it: what changes gets another name and is never served stale. A journal remembers the content of each file by
its size and time, so that an unchanged file is not hashed again. Files are written whole or not at all, and a build
that was interrupted goes on where it was.
"""

import json
import math
import mmap
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from hdr_lightning.data.files import content_hash, photo_header, read_photo, writing
from hdr_lightning.data.files.reduce import reduced_size
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

GB = 10**9
AN_HOUR = 3600.0
Reader = Callable[[Path], NDArray[Any]]
"""From a photo's file to its pixels, (height, width, 3): upright, sRGB-encoded, at the depth of the file."""

MAPPED = 4 << 20
"""Bytes above which a photo is mapped, as a crop needs few of its pages; one below is read faster than mapped."""


@dataclass(frozen=True)
class PhotoReader:
    """Reads photos from their files.

    Attributes:
        shorter_side: length in pixels that a longer shorter side is reduced to, or nothing for photos as they are.
    """

    shorter_side: int | None = None

    def __call__(self, path: Path) -> NDArray[Any]:
        return read_photo(path, self.shorter_side).pixels


class PhotoFile(NamedTuple):
    """A photo's file as it is now.

    Attributes:
        size: in bytes.
        mtime_ns: when it was changed.
        content: its SHA-256.
    """

    size: int
    mtime_ns: int
    content: str


@dataclass(frozen=True)
class Entry:
    """A photo in the cache.

    Attributes:
        file_size: of the photo's file, in bytes.
        mtime_ns: when that file was changed.
        content: SHA-256 of that file.
        dtype: of the pixels.
        shape: of the pixels: height, width, 3.
        checksum: CRC-32 of the pixels.
    """

    file_size: int
    mtime_ns: int
    content: str
    dtype: str
    shape: tuple[int, ...]
    checksum: int

    @property
    def bytes(self) -> int:
        """Of the pixels."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def describes(self, path: Path) -> bool:
        """Whether a file is still the one that was decoded, by its size and time."""
        status = os.stat(path)  # noqa: PTH116 - in half the time
        return (status.st_size, status.st_mtime_ns) == (self.file_size, self.mtime_ns)


@dataclass(frozen=True)
class CachedReader:
    """Reads photos from a cache: large ones as views of memory-mapped files, which cannot be written to.

    Attributes:
        folder: of the pixels.
        entries: what is there.
    """

    folder: Path
    entries: Mapping[Path, Entry]

    def __call__(self, path: Path) -> NDArray[Any]:
        entry = self.entries[path]
        if not entry.describes(path):
            raise InputError(f"{path}: the photo has changed since it was cached: start the command again")
        file = self.folder / entry.content
        try:
            return (_map(file, entry.dtype) if entry.bytes > MAPPED else np.fromfile(file, entry.dtype)).reshape(
                entry.shape
            )
        except (OSError, ValueError) as error:  # missing, or shorter than its pixels
            raise InputError(f"{file} of the cache is damaged ({error}): start the command again") from None


def _map(file: Path, dtype: str) -> NDArray[Any]:
    """A view of a file; `numpy.memmap` does the same in half the time of a whole sample."""
    with file.open("rb", buffering=0) as opened:
        return np.frombuffer(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ), dtype)


class PhotoCache:
    """Decoded photos on a local disk, shared by all ranks and workers of a machine.

    Args:
        root: folder of the cache; data sets may share it.
        gigabytes: the most that it may hold, in 10^9 bytes.
        shorter_side: of the photos kept, as `read_photo` takes it.
    """

    def __init__(self, root: Path, gigabytes: float, shorter_side: int | None = None) -> None:
        self.root = root
        self.gigabytes = gigabytes
        self.read = PhotoReader(shorter_side)
        decoders = " ".join(version(name) for name in ("imagecodecs", "openexr", "pillow", "simplejpeg", "torch"))
        self.folder = root / f"{shorter_side or 'full'}_{zlib.crc32(decoders.encode()):08x}"
        self.journal = self.folder / "photos.jsonl"
        self._built: Mapping[Path, Entry] = {}

    def build(self, paths: Iterable[Path]) -> None:
        """Decode what is missing, changed or damaged, with a progress bar; whether there is room is checked before.

        A folder that cannot be written to is used as it is if all photos are there.

        Raises:
            InputError: if the bound or the disk is too small, a photo cannot be read, or one is missing in a folder
                that cannot be written to.
        """
        photos = sorted({path.absolute() for path in paths})
        self._make_folder()
        known = self._known()
        by_content = {entry.content: entry for entry in known.values()}
        entries: dict[Path, Entry] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda path: self._find(path, known.get(path), by_content), photos)
            missing: dict[str, list[tuple[Path, PhotoFile]]] = {}
            for path, (file, entry) in zip(photos, track(found, "checking the cache", len(photos)), strict=True):
                if entry is None:
                    missing.setdefault(file.content, []).append((path, file))
                else:
                    entries[path] = entry
            firsts = [same[0] for same in missing.values()]  # one file of each content
            self._refuse_unwritable([path for path, _ in firsts])
            self._refuse_overflow(sum(pool.map(self._planned_bytes, [path for path, _ in firsts])))
            added = pool.map(lambda first: self._add(*first), firsts)
            for same, entry in zip(
                missing.values(), track(added, "filling the cache", len(firsts), "photo"), strict=True
            ):
                new = {path: _entry_of(file, entry) for path, file in same}
                self._append(new)
                entries |= new
        self._merge(entries)
        self._built = entries

    def reader(self, paths: Sequence[Path]) -> CachedReader:
        """Read photos that `build` has put there.

        Raises:
            InputError: if a photo is not in the cache.
        """
        known = self._built or self._known()  # another process of this run may have built it
        absent = [path for path in paths if path.absolute() not in known]
        if absent:
            raise InputError(f"{absent[0]} is not in the cache {self.folder}: start the command again")
        return CachedReader(self.folder, {path: known[path.absolute()] for path in paths})

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"data.cache={self.root} cannot be made ({error.strerror}): choose another") from None
        for left in self.folder.glob(".*.part"):  # by a build that was killed, and not by one that is running
            with suppress(OSError):  # renamed by its build meanwhile, or a folder that cannot be written to
                if time.time() - left.stat().st_mtime > AN_HOUR:
                    left.unlink()

    @property
    def _writable(self) -> bool:
        return os.access(self.folder, os.W_OK)

    def _refuse_unwritable(self, missing: Sequence[Path]) -> None:
        if missing and not self._writable:
            raise InputError(
                f"data.cache={self.root} cannot be written to, and {len(missing)} photos are not in it "
                f"({missing[0]}, ...): choose another folder, or fill it where it can be written to"
            )

    @property
    def _lock(self) -> FileLock:
        """Held while the journal is written: other runs may fill the same folder."""
        return FileLock(self.folder / ".lock")

    def _append(self, entries: Mapping[Path, Entry]) -> None:
        """Note what was decoded at once, so that an interrupted build goes on after it."""
        try:
            with self._lock, self.journal.open("a", encoding="utf-8") as file:
                file.writelines(_line(path, entry) for path, entry in entries.items())
        except OSError as error:
            raise InputError(f"{self.journal}: cannot be written ({error.strerror}): choose another folder") from error

    def _merge(self, entries: Mapping[Path, Entry]) -> None:
        """Leave one line for each photo in the journal, those of other runs among them."""
        if not self._writable:
            return
        with self._lock:
            merged = self._known() | dict(entries)
            with writing(self.journal) as temporary:
                temporary.write_text("".join(_line(path, entry) for path, entry in merged.items()), encoding="utf-8")

    def _known(self) -> dict[Path, Entry]:
        entries = {}
        for line in self.journal.read_bytes().splitlines() if self.journal.is_file() else []:
            try:
                path, entry = _read_line(line)
            except (ValueError, TypeError, KeyError):  # cut short by a crash
                warnings.warn(f"{self.journal}: a line cannot be read, its photo is decoded again", stacklevel=2)
            else:
                entries[path] = entry
        return entries

    def _find(self, path: Path, entry: Entry | None, by_content: Mapping[str, Entry]) -> tuple[PhotoFile, Entry | None]:
        """A file as it is now, and what the cache holds of it, whole and undamaged; or nothing."""
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        status = path.stat()
        content = entry.content if entry is not None and entry.describes(path) else content_hash(path)
        file = PhotoFile(status.st_size, status.st_mtime_ns, content)
        held = by_content.get(content)
        return file, _entry_of(file, held) if held is not None and self._is_whole(held) else None

    def _is_whole(self, entry: Entry) -> bool:
        file = self.folder / entry.content
        if not file.is_file():
            return False
        if file.stat().st_size != entry.bytes or _checksum(file) != entry.checksum:
            warnings.warn(f"{file} of the cache is damaged: its photo is decoded again", stacklevel=2)
            return False
        return True

    def _planned_bytes(self, path: Path) -> int:
        header = photo_header(path)
        height, width = reduced_size(header.height, header.width, self.read.shorter_side)
        return height * width * 3 * (4 if header.radiance else 2 if header.bits > 8 else 1)

    def _refuse_overflow(self, needed: int) -> None:
        held = 0
        for file in self.root.rglob("*"):
            with suppress(FileNotFoundError):  # renamed by another run meanwhile
                held += file.stat().st_size if file.is_file() else 0
        if needed and held + needed > self.gigabytes * GB:
            raise InputError(
                f"the cache needs {needed / GB:.3g} GB more than the {held / GB:.3g} GB that {self.root} holds, and "
                f"data.cache_gb is {self.gigabytes:g}: set it to {(held + needed) / GB * 1.01:.3g}, reduce "
                "data.resize, or remove what older runs left in the folder"
            )
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise InputError(
                f"the cache needs {needed / GB:.3g} GB more, and the disk of {self.root} has {free / GB:.3g} GB free: "
                "choose another data.cache, or reduce data.resize"
            )

    def _add(self, path: Path, file: PhotoFile) -> Entry:
        pixels = np.ascontiguousarray(self.read(path))
        entry = Entry(*file, pixels.dtype.name, pixels.shape, zlib.crc32(pixels.data))
        if not entry.describes(path):  # its pixels must not get the name of another content
            raise InputError(f"{path}: the photo changed while it was cached: start the command again")
        with writing(self.folder / file.content) as temporary:
            pixels.tofile(temporary)
        return entry


def _entry_of(file: PhotoFile, entry: Entry) -> Entry:
    """The entry of a file by that of another one with the same content."""
    return replace(entry, file_size=file.size, mtime_ns=file.mtime_ns)


def _line(path: Path, entry: Entry) -> str:
    return json.dumps({"path": str(path), **asdict(entry)}) + "\n"


def _read_line(line: bytes) -> tuple[Path, Entry]:
    """The reverse of `_line`; raises ValueError, TypeError or KeyError for any other line."""
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("content"), str):
        raise TypeError("expected an object with the content of a photo")
    path = Path(row.pop("path"))
    entry = Entry(**row | {"shape": tuple(row["shape"])})
    if not isinstance(entry.bytes, int):
        raise TypeError("expected the shape of a photo")
    return path, entry


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as pixels:
        while block := pixels.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum
