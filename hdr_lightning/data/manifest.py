"""Which photos belong together: pairs from a manifest (JSONL, CSV, Parquet) or from two folders with matching names.

Pairs are held in columns, so that a manifest of ten million lines opens in seconds and its worker processes share it.
"""

import json
import operator
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pyarrow import csv, parquet
from pyarrow import json as arrow_json

from hdr_lightning.data.files import PHOTO_SUFFIXES
from hdr_lightning.errors import InputError

KEYS = frozenset({"src", "tar", "group"})
SCHEMA = pa.schema([(key, pa.string()) for key in ("src", "tar", "group")])
BLOCK = 4 << 20
"""Bytes of a manifest that are parsed at a time."""


@dataclass(frozen=True)
class PairPaths:
    """Where a pair lies.

    Attributes:
        name: the source as the manifest writes it, by which people call the pair.
        source: the unedited photo.
        target: the edited photo.
        group: pairs of one group (a scene, a house) stay on one side of every split; a pair alone is its own group.
    """

    name: str
    source: Path
    target: Path
    group: str


@dataclass(frozen=True, eq=False)
class Columns:
    """All pairs of a data set.

    Attributes:
        names: of the pairs.
        sources: paths below the first of `folders`.
        targets: paths below the second.
        folders: of sources and targets.
        groups: number of each pair's group.
        labels: names of the groups; nothing where every pair is its own group, and is called by its source's path.
    """

    names: pa.ChunkedArray
    sources: pa.ChunkedArray
    targets: pa.ChunkedArray
    folders: tuple[Path, Path]
    groups: NDArray[np.integer]
    labels: pa.Array | None


class Pairs(Sequence[PairPaths]):
    """Some rows of the columns of a data set; a pair is made when it is asked for.

    Args:
        columns: all pairs.
        rows: which, in their order; all of them if nothing is given.
    """

    def __init__(self, columns: Columns, rows: NDArray[np.integer] | None = None) -> None:
        self.columns = columns
        self.rows = np.arange(len(columns.names), dtype=np.int32) if rows is None else rows

    @classmethod
    def of(cls, pairs: Iterable[PairPaths]) -> "Pairs":
        """Put pairs into columns."""
        listed = list(pairs)
        labels, groups = np.unique([pair.group for pair in listed], return_inverse=True)
        names, sources, targets = (
            pa.chunked_array([pa.array(column, pa.string())])
            for column in (
                [pair.name for pair in listed],
                [str(pair.source) for pair in listed],
                [str(pair.target) for pair in listed],
            )
        )
        return cls(Columns(names, sources, targets, (Path(), Path()), groups, pa.array(labels, pa.string())))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> PairPaths: ...
    @overload
    def __getitem__(self, index: slice) -> "Pairs": ...
    def __getitem__(self, index: int | slice) -> "PairPaths | Pairs":
        if isinstance(index, slice):
            return Pairs(self.columns, self.rows[index])
        columns, row = self.columns, int(self.rows[operator.index(index)])
        source = columns.folders[0] / columns.sources[row].as_py()
        target = columns.folders[1] / columns.targets[row].as_py()
        group = str(source) if columns.labels is None else columns.labels[int(columns.groups[row])].as_py()
        return PairPaths(columns.names[row].as_py(), source, target, group)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def names(self) -> pa.ChunkedArray:
        """Names of the pairs, in a column."""
        return self.columns.names.take(pa.array(self.rows))

    @property
    def groups(self) -> NDArray[np.integer]:
        """Number of each pair's group."""
        return self.columns.groups[self.rows]

    def in_groups(self, labels: set[str]) -> NDArray[np.bool_]:
        """Tell of each pair whether its group is one of these."""
        columns = self.columns
        if columns.labels is not None:
            wanted = np.array([label in labels for label in columns.labels.to_pylist()], bool)
            return wanted[self.groups]
        below = [Path(label) for label in labels if Path(label).is_relative_to(columns.folders[0])]
        sources = pa.array([path.relative_to(columns.folders[0]).as_posix() for path in below], pa.string())
        return pc.is_in(columns.sources, value_set=sources).to_numpy()[self.rows]


def read_pairs(origin: Path | Sequence[Path]) -> Pairs:
    """Read pairs in their order.

    Args:
        origin: a manifest (`.csv` and `.parquet` with the columns "src", "tar" and perhaps "group"; any other name is
            JSONL with these keys), or a folder of sources and a folder of targets.

    Raises:
        InputError: if nothing is there, a line or name is wrong, or a pair is given twice.
    """
    pairs = _read_manifest(origin) if isinstance(origin, Path) else _match_folders(*origin)
    repeated = _repeated(pairs.columns.names)
    if repeated is not None:
        title = str(origin) if isinstance(origin, Path) else " + ".join(map(str, origin))
        raise InputError(f"{title}: {repeated} is the source of more than one pair: keep one")
    return pairs


def _repeated(names: pa.ChunkedArray) -> str | None:
    """A name that is there more than once. Hashes are compared first: a hash table of ten million names takes long."""
    with ThreadPoolExecutor() as pool:
        hashes = np.concatenate(list(pool.map(_hash, names.chunks)))
    hashes.sort()
    if (hashes[1:] != hashes[:-1]).all():
        return None
    counts = Counter(names.to_pylist()).most_common(1)
    return counts[0][0] if counts[0][1] > 1 else None


def _hash(texts: pa.StringArray) -> NDArray[np.uint64]:
    """Sum of the bytes of each text, which is not empty, times a random number for each position."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    letters = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
    starts, lengths = bounds[:-1] - bounds[0], np.diff(bounds)
    numbers = np.random.default_rng(0).integers(1 << 63, size=lengths.max(), dtype=np.uint64)
    hashes = np.empty(len(texts), np.uint64)
    for length in np.unique(lengths):
        alike = lengths == length
        hashes[alike] = sliding_window_view(letters, length)[starts[alike]] @ numbers[:length]
    return hashes


def _read_manifest(path: Path) -> Pairs:
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a JSONL manifest, or two folders as [sources, targets]")
    if not path.is_file():
        raise InputError(f"{path}: there is no such manifest; `hdr-lightning demo-data` makes one to try")
    kind = path.suffix.lower()
    try:
        table = _read_json(path) if kind not in (".csv", ".parquet") else _read_table(path, kind)
        table.validate(full=True)
    except pa.ArrowException as error:
        _explain(path, kind)
        raise InputError(f"{path}: cannot be read as a manifest ({error}): see the README for what it holds") from None
    if len(table) == 0:
        raise InputError(
            f'{path}: the manifest is empty; expected lines like {{"src": "1_src.jpg", "tar": "1_tar.jpg"}}'
        )
    for key in ("src", "tar"):
        named = pc.and_(pc.greater(pc.binary_length(table[key]), 0), pc.invert(pc.match_substring(table[key], "\0")))
        filled = pc.fill_null(named, False)
        if not pc.all(filled).as_py():
            _explain(path, kind)
            row = pc.index(filled, False).as_py() + 1
            raise InputError(f'{path}, row {row}: expected a name for the keys "src" and "tar", got none for "{key}"')
    return _columns(table, path.parent)


def _columns(table: pa.Table, folder: Path) -> Pairs:
    names, targets, groups = (table[key] for key in ("src", "tar", "group"))
    groups = pc.if_else(pc.equal(groups, ""), None, groups)
    if groups.null_count == len(groups):
        numbers, labels = np.arange(len(groups)), None
    else:
        if groups.null_count:
            alone = pc.binary_join_element_wise(pa.scalar(str(folder)), names, "/")
            groups = pc.coalesce(groups, alone)
        encoded = groups.dictionary_encode().combine_chunks()
        numbers, labels = encoded.indices.to_numpy(), encoded.dictionary
    return Pairs(Columns(names, names, targets, (folder, folder), numbers, labels))


def _read_json(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        if file.read(3) != b"\xef\xbb\xbf":  # a mark that Windows puts before UTF-8
            file.seek(0)
        if file.tell() == file.size():
            return SCHEMA.empty_table()
        options = arrow_json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error")
        return pa.Table.from_batches(
            arrow_json.open_json(file, arrow_json.ReadOptions(block_size=BLOCK), options), SCHEMA
        )


def _read_table(path: Path, kind: str) -> pa.Table:
    if kind == ".csv":
        texts = csv.ConvertOptions(column_types=SCHEMA, strings_can_be_null=True, null_values=[""])
        table = csv.read_csv(path, convert_options=texts)
    else:
        table = parquet.read_table(path)
    columns = table.column_names
    if not {"src", "tar"} <= set(columns) <= KEYS or len(set(columns)) < len(columns):
        raise InputError(f'{path}: expected the columns "src", "tar" and perhaps "group", got {", ".join(columns)}')
    if "group" not in columns:
        table = table.append_column("group", pa.nulls(len(table), pa.string()))
    return table.select(SCHEMA.names).cast(SCHEMA)


def _explain(path: Path, kind: str) -> None:
    """Refuse the first line of JSON that is wrong, by its number."""
    if kind in (".csv", ".parquet"):
        return
    for number, line in lines_of(path):
        _explain_line(f"{path}, line {number}", line)


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Read the lines of a text that are not empty, with their numbers; a mark before UTF-8 is no part of it.

    Raises:
        InputError: if it is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected UTF-8, got the byte {error.object[error.start]:#x}: save it as UTF-8"
        ) from None
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: names may hold other separators
        if line.strip():
            yield number, line


def located(path: Path) -> Path:
    """Write the path of a file in one way, links of its folder seen through, so that two can be compared."""
    return path.parent.resolve() / path.name


def relative_name(path: Path, folder: Path) -> str:
    """Write the path of a file so that it is found from a folder, links seen through."""
    return Path(os.path.relpath(located(path), folder.resolve())).as_posix()


def _explain_line(where: str, line: str) -> None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: expected one JSON object a line, got {line[:60]!r} ({error.msg})") from None
    if not isinstance(row, dict) or not {"src", "tar"} <= row.keys() <= KEYS:
        raise InputError(f'{where}: expected the keys "src", "tar" and perhaps "group", got {line[:80]}')
    if not all(isinstance(value, str) and value for value in row.values()):
        raise InputError(f"{where}: expected text for every key, got {line[:80]}")


def _match_folders(*folders: Path) -> Pairs:
    if len(folders) != 2:
        raise InputError(
            f"expected two folders, [sources, targets], got {len(folders)}: {', '.join(map(str, folders))}"
        )
    sources, targets = (_photos_by_stem(folder) for folder in folders)
    for stems, others, folder in ((sources, targets, folders[1]), (targets, sources, folders[0])):
        alone = sorted(stems.keys() - others.keys())
        if alone:
            raise InputError(
                f"{stems[alone[0]]} has no partner of that name in {folder} ({len(alone)} photos have none): "
                "add them, or list the pairs in a JSONL manifest"
            )
    names, partners = (
        pa.chunked_array([pa.array([photos[stem].name for stem in sorted(sources)], pa.string())])
        for photos in (sources, targets)
    )
    return Pairs(Columns(names, names, partners, (folders[0], folders[1]), np.arange(len(names)), None))


def _photos_by_stem(folder: Path) -> dict[str, Path]:
    photos = list_photos(folder)
    by_stem = {photo.stem: photo for photo in photos}
    if len(by_stem) < len(photos):
        stem = Counter(photo.stem for photo in photos).most_common(1)[0][0]
        raise InputError(f"{folder}: more than one photo is called {stem}: names without suffix must differ")
    return by_stem


def photos_of(pairs: Iterable[PairPaths]) -> list[Path]:
    """List the files of pairs, each source before its target."""
    return [path for pair in pairs for path in (pair.source, pair.target)]


def list_photos(folder: Path) -> list[Path]:
    """List the photos of a folder by name, but for hidden ones, such as macOS leaves beside others.

    Raises:
        InputError: if the folder is missing or holds no photo, or a name is no text.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES and path.name[0] != ".")
    if not photos:
        raise InputError(f"{folder}: the folder holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
    for photo in photos:
        if not photo.name.isascii() and photo.name.encode(errors="ignore").decode() != photo.name:
            raise InputError(f"{folder}: the name of a photo is no UTF-8, {photo.name!r}: rename it")
    return photos
