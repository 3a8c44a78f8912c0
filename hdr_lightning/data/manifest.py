"""Which photos belong together: pairs from a JSONL manifest or from two folders with matching names."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdr_lightning.data.files import PHOTO_SUFFIXES, writing
from hdr_lightning.errors import InputError

KEYS = frozenset({"src", "tar", "group"})


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


def read_pairs(origin: Path | Sequence[Path]) -> list[PairPaths]:
    """Read pairs in their order.

    Args:
        origin: a JSONL manifest, or a folder of sources and a folder of targets.

    Raises:
        InputError: if nothing is there, a line or name is wrong, or a pair is given twice.
    """
    pairs = _read_manifest(origin) if isinstance(origin, Path) else _match_folders(*origin)
    repeated = [name for name, count in Counter(pair.name for pair in pairs).items() if count > 1]
    if repeated:
        raise InputError(f"{_title(origin)}: {repeated[0]} is the source of more than one pair: keep one")
    return pairs


def _title(origin: Path | Sequence[Path]) -> str:
    return str(origin) if isinstance(origin, Path) else " + ".join(map(str, origin))


def _read_manifest(path: Path) -> list[PairPaths]:
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a JSONL manifest, or two folders as [sources, targets]")
    if not path.is_file():
        raise InputError(f"{path}: there is no such manifest; `hdr-lightning demo-data` makes one to try")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected UTF-8, got the byte {error.object[error.start]:#x}: save it as UTF-8"
        ) from None
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            pairs.append(_read_line(f"{path}, line {number}", line, path.parent))
    if not pairs:
        raise InputError(
            f'{path}: the manifest is empty; expected lines like {{"src": "1_src.jpg", "tar": "1_tar.jpg"}}'
        )
    return pairs


def _read_line(where: str, line: str, folder: Path) -> PairPaths:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: expected one JSON object a line, got {line[:60]!r} ({error.msg})") from None
    if not isinstance(row, dict) or not {"src", "tar"} <= row.keys() <= KEYS:
        raise InputError(f'{where}: expected the keys "src", "tar" and perhaps "group", got {line[:80]}')
    if not all(isinstance(value, str) and value for value in row.values()):
        raise InputError(f"{where}: expected text for every key, got {line[:80]}")
    name = row["src"]
    return PairPaths(name, folder / name, folder / row["tar"], row.get("group", str(folder / name)))


def _match_folders(*folders: Path) -> list[PairPaths]:
    if len(folders) != 2:
        raise InputError(f"expected two folders, [sources, targets], got {len(folders)}: {_title(folders)}")
    sources, targets = (_photos_by_stem(folder) for folder in folders)
    for stems, others, folder in ((sources, targets, folders[1]), (targets, sources, folders[0])):
        alone = sorted(stems.keys() - others.keys())
        if alone:
            raise InputError(
                f"{stems[alone[0]]} has no partner of that name in {folder} ({len(alone)} photos have none): "
                "add them, or list the pairs in a JSONL manifest"
            )
    return [PairPaths(sources[stem].name, sources[stem], targets[stem], str(sources[stem])) for stem in sorted(sources)]


def _photos_by_stem(folder: Path) -> dict[str, Path]:
    photos = list_photos(folder)
    by_stem = {photo.stem: photo for photo in photos}
    if len(by_stem) < len(photos):
        stem = Counter(photo.stem for photo in photos).most_common(1)[0][0]
        raise InputError(f"{folder}: more than one photo is called {stem}: names without suffix must differ")
    return by_stem


def list_photos(folder: Path) -> list[Path]:
    """List the photos of a folder by name.

    Raises:
        InputError: if the folder is missing or holds no photo.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise InputError(f"{folder}: the folder holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return photos


def write_quarantine(path: Path, reasons: Mapping[PairPaths, str]) -> None:
    """List pairs to be left out: one JSON object a line, with "src" relative to the file, and "why".

    Args:
        path: the file, JSONL.
        reasons: what is wrong with each pair.

    Raises:
        InputError: if the file cannot be written.
    """
    with writing(path) as temporary:
        folder = path.parent.absolute()
        rows = [{"src": os.path.relpath(pair.source.absolute(), folder), "why": why} for pair, why in reasons.items()]
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_quarantine(path: Path) -> frozenset[Path]:
    """Read which pairs to leave out.

    Args:
        path: JSONL with "src" a line, relative to the file, and perhaps "why"; `hdr-lightning audit` writes one.

    Returns:
        Their sources, as absolute paths.

    Raises:
        InputError: if there is no such file, or a line is wrong.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such quarantine list; `hdr-lightning audit` writes one")
    sources = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if line.strip():
            sources.append(_read_quarantine_line(f"{path}, line {number}", line))
    return frozenset(located(path.parent / source) for source in sources)


def _read_quarantine_line(where: str, line: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: expected one JSON object a line, got {line[:60]!r} ({error.msg})") from None
    if not isinstance(row, dict) or "src" not in row or not row.keys() <= {"src", "why"}:
        raise InputError(f'{where}: expected the keys "src" and perhaps "why", got {line[:80]}')
    return str(row["src"])


def located(source: Path) -> Path:
    """Write a path in one way, so that two can be compared, without opening anything."""
    return Path(os.path.normpath(source.absolute()))
