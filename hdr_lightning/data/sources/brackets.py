"""Exposure brackets: which photos show one scene, and the fusion of each scene as the target of all its exposures."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from hdr_lightning.data.files import Photo, read_photo, write_photo, writing
from hdr_lightning.data.manifest import PairPaths, read_pairs, relative_name
from hdr_lightning.data.sources.base import PairSource, photos_below, require_folder
from hdr_lightning.data.sources.degradations import Pixels, quantised
from hdr_lightning.data.sources.fusion import align, fuse
from hdr_lightning.data.sources.published import Exposures, choose
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

GroupBy = Literal["folder", "time", "name"]
"""What the exposures of a scene share: their folder, the moment at which they were taken, or the start of the name."""

MOST = 24
"""A bracket has no more exposures; what seems to have is grouped wrongly."""

SHOWN = 5


class Row(TypedDict):
    """A line of a manifest."""

    src: str
    tar: str
    group: str


@dataclass(frozen=True)
class Fusing:
    """How brackets become pairs.

    Attributes:
        folder: the brackets.
        output: folder for what is made.
        group_by: what the exposures of a scene share.
        gap: seconds without a shot after which another scene begins, where they are grouped by time.
        align: whether exposures are moved onto the middle one.
    """

    folder: Path
    output: Path
    group_by: GroupBy
    gap: float
    align: bool

    @property
    def manifest(self) -> Path:
        return self.output / "pairs.jsonl"


class ExposureBrackets(PairSource):
    """Brackets that make their own targets: each scene's exposures are aligned and fused once, before training.

    Fusing opens all brackets, those of a later test set too; training then opens its own alone.

    Args:
        folder: the brackets.
        output: folder for the fusions and the manifest, outside the folder of the brackets or in it.
        exposures: which of a scene's exposures are sources; `middle` is the one by brightness.
        group_by: what the exposures of a scene share: `folder` (a folder a scene), `time` (EXIF) or `name` (all before
            the last `-`, `_` or space).
        gap: seconds without a shot after which another scene begins, for `time`.
        align: whether exposures are moved onto the middle one by whole pixels; false for a tripod.
    """

    def __init__(
        self,
        folder: Path,
        output: Path,
        exposures: Exposures = "all",
        group_by: GroupBy = "folder",
        gap: float = 2.0,
        align: bool = True,
    ) -> None:
        self.folder = folder
        self.exposures = exposures
        self.fusing = Fusing(folder, output, group_by, gap, align)

    def pairs(self) -> list[PairPaths]:
        scenes: dict[str, list[PairPaths]] = {}
        for pair in read_pairs(self.manifest):
            scenes.setdefault(pair.group, []).append(pair)
        return [pair for rising in scenes.values() for pair in choose(rising, self.exposures)]

    def prepare(self) -> None:
        fuse_scenes(self.fusing, find_scenes(self.fusing))

    @property
    def manifest(self) -> Path:
        return self.fusing.manifest


def fuse_brackets(
    folder: Sequence[Path],
    output: Path,
    group_by: GroupBy = "folder",
    gap: float = 2.0,
    align: bool = True,
    dry_run: bool = False,
) -> Path:
    """Make pairs of exposure brackets: each exposure with the aligned fusion of its whole bracket.

    Writes `target/`, `source/` (where exposures had to be moved: all of the scene, cropped to what they share; else
    they stay where they are), `scenes/` (what was made of what) and the manifest `pairs.jsonl`, in which the exposures
    of a scene are one group and rise in brightness. Goes on where it was interrupted; a scene whose photos changed is
    made again.

    Args:
        folder: the brackets.
        output: folder for what is made.
        group_by: what the exposures of a scene share: `folder` (a folder a scene), `time` (EXIF) or `name` (all before
            the last `-`, `_` or space).
        gap: seconds without a shot after which another scene begins, for `time`.
        align: whether exposures are moved onto the middle one by whole pixels; false for a tripod.
        dry_run: print the scenes and write nothing.

    Returns:
        The manifest.

    Raises:
        InputError: if there are no brackets, a photo belongs to none, or one cannot be read, aligned or written.
    """
    if len(folder) != 1:
        raise InputError(f"expected one folder of brackets, got {len(folder)}: {', '.join(map(str, folder))}")
    fusing = Fusing(folder[0], output, group_by, gap, align)
    scenes = find_scenes(fusing)
    if dry_run:
        for name, photos in scenes.items():
            print(f"{name}: {len(photos)} exposures, {photos[0].name} to {photos[-1].name}")
        print(f"{len(scenes)} scenes, {sum(map(len, scenes.values()))} exposures; nothing was written")
        return fusing.manifest
    fuse_scenes(fusing, scenes)
    return fusing.manifest


def find_scenes(fusing: Fusing) -> dict[str, list[Path]]:
    """List the exposures of each scene, by the scene's name.

    Raises:
        InputError: if there are none, a scene has fewer than two or too many, two of a scene have one name, or a photo
            has no time.
    """
    own = fusing.output.resolve()
    photos = [
        path
        for path in photos_below(require_folder(fusing.folder, "exposure brackets"))
        if own not in path.resolve().parents
    ]
    if not photos:
        raise InputError(f"{fusing.folder}: expected exposure brackets in this folder or below, found no photos")
    find = {"folder": _by_folder, "time": _by_time, "name": _by_name}[fusing.group_by]
    scenes = find(fusing, photos)
    odd = {name: photos for name, photos in scenes.items() if not 2 <= len(photos) <= MOST}
    if odd:
        name, photos = next(iter(odd.items()))
        raise InputError(
            f"expected 2 to {MOST} exposures a scene, got {len(photos)} for {name} ({photos[0]}), grouped by "
            f"{fusing.group_by}; {len(odd)} of {len(scenes)} scenes are like this: choose another group_by of folder, "
            "time and name, or remove what is no bracket"
        )
    for name, photos in scenes.items():
        _refuse_equal_names(name, photos)
    return scenes


def _refuse_equal_names(scene: str, photos: Sequence[Path]) -> None:
    """Refuse a RAW file beside its JPEG: they are one exposure, and moved ones are written as `NAME.png`."""
    first: dict[str, Path] = {}
    for photo in photos:
        other = first.setdefault(photo.stem, photo)
        if other != photo:
            raise InputError(
                f"{other} and {photo} are one exposure of {scene} by their names: leave one out, or rename it"
            )


def _by_folder(fusing: Fusing, photos: Sequence[Path]) -> dict[str, list[Path]]:
    scenes: dict[str, list[Path]] = {}
    for photo in photos:
        if photo.parent == fusing.folder:
            raise InputError(
                f"{photo} lies in no folder of a scene: give each scene a folder of its own, or set group_by to time "
                "or name"
            )
        scenes.setdefault(photo.parent.relative_to(fusing.folder).as_posix(), []).append(photo)
    return scenes


def _by_name(fusing: Fusing, photos: Sequence[Path]) -> dict[str, list[Path]]:
    scenes: dict[str, list[Path]] = {}
    for photo in photos:
        start = re.fullmatch(r"(.*[^-_ ])[-_ ]+[^-_ ]+", photo.stem)
        if start is None:
            raise InputError(
                f"{photo}: expected a name like kitchen_1, scene and exposure: set group_by to time or folder"
            )
        scenes.setdefault((photo.parent.relative_to(fusing.folder) / start[1]).as_posix(), []).append(photo)
    return scenes


def _by_time(fusing: Fusing, photos: Sequence[Path]) -> dict[str, list[Path]]:
    """A scene is called after its first photo."""
    scenes: dict[str, list[Path]] = {}
    name, free = "", -np.inf
    for taken, open_for, photo in sorted((*_taken(photo), photo) for photo in photos):
        if taken - free > fusing.gap:
            name = photo.relative_to(fusing.folder).with_suffix("").as_posix()
        scenes.setdefault(name, []).append(photo)
        free = taken + open_for
    return scenes


def _taken(photo: Path) -> tuple[float, float]:
    """When a photo was taken, and how long the shutter was open, in seconds."""
    try:
        with Image.open(photo) as image:
            tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{photo}: cannot be read ({error}): replace it or leave it out") from None
    moment = str(tags.get(ExifTags.Base.DateTimeOriginal, ""))
    try:
        seconds = (datetime.strptime(moment, "%Y:%m:%d %H:%M:%S") - datetime(1970, 1, 1)).total_seconds()
        fraction = float(f"0.{str(tags.get(ExifTags.Base.SubsecTimeOriginal, '0')).strip()}")
        return seconds + fraction, max(0.0, float(tags.get(ExifTags.Base.ExposureTime, 0)))
    except ValueError:
        raise InputError(
            f"{photo}: expected the time at which it was taken in its EXIF block, got {moment!r}: set group_by to "
            "folder or name"
        ) from None


def fuse_scenes(fusing: Fusing, scenes: dict[str, list[Path]]) -> None:
    """Fuse what is not fused yet, and list all pairs in the manifest.

    Raises:
        InputError: naming the scenes that cannot be fused; the others are done, and the manifest is not written.
    """
    due = [name for name, photos in scenes.items() if not _is_done(fusing, name, photos)]
    failures: list[str] = []
    for name in track(due, "fusing brackets", len(due), "scene"):
        try:
            _fuse_scene(fusing, name, scenes[name])
        except InputError as error:
            failures.append(f"{name}: {error}")
    if failures:
        more = f"\n  and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
        shown = "\n  ".join(failures[:SHOWN])
        raise InputError(f"{len(failures)} of {len(scenes)} scenes cannot be fused:\n  {shown}{more}")
    rows = [row for name in scenes for row in json.loads(_record(fusing, name).read_text(encoding="utf-8"))["pairs"]]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if not fusing.manifest.is_file() or fusing.manifest.read_text(encoding="utf-8") != text:
        with writing(fusing.manifest) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"{fusing.manifest}: {len(rows)} pairs of {len(scenes)} scenes, {len(due)} of them fused now")


def _record(fusing: Fusing, name: str) -> Path:
    return fusing.output / "scenes" / f"{name}.json"


def _request(fusing: Fusing, photos: Sequence[Path]) -> dict[str, object]:
    """What a fusion depends on."""
    states = [(path, path.stat()) for path in photos]
    exposures = [[relative_name(path, fusing.output), state.st_size, state.st_mtime_ns] for path, state in states]
    return {"exposures": exposures, "align": fusing.align, "version": 1}


def _is_done(fusing: Fusing, name: str, photos: Sequence[Path]) -> bool:
    try:
        record = json.loads(_record(fusing, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    there = all((fusing.output / row[key]).is_file() for row in record["pairs"] for key in ("src", "tar"))
    return bool(there and record["request"] == _request(fusing, photos))


def _fuse_scene(fusing: Fusing, name: str, photos: Sequence[Path]) -> None:
    """Write the exposures that were moved, then the fusion, then the record that says that both are there."""
    request = _request(fusing, photos)
    exposures = [read_photo(path).pixels for path in photos]
    sizes = {exposure.shape[:2] for exposure in exposures}
    if len(sizes) > 1:
        shown = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise InputError(f"the exposures have different sizes, {shown}: leave out what does not belong here")
    rising = sorted(range(len(photos)), key=lambda n: float(exposures[n].mean()))
    photos, exposures = [photos[n] for n in rising], [exposures[n] for n in rising]
    shifts = [(0, 0)] * len(photos)
    if fusing.align:
        exposures, shifts = align(exposures, reference=(len(photos) - 1) // 2)
    target = f"target/{name}.png"
    rows: list[Row] = []
    for path, exposure in zip(photos, exposures, strict=True):
        source = relative_name(path, fusing.output)
        if any(shift != (0, 0) for shift in shifts):
            source = f"source/{name}/{path.stem}.png"
            _write(fusing.output / source, exposure)
        rows.append({"src": source, "tar": target, "group": name})
    _write(fusing.output / target, fuse(exposures))
    with writing(_record(fusing, name)) as temporary:
        record = {"request": request, "shifts": shifts, "pairs": rows}
        temporary.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


def _write(path: Path, pixels: Pixels) -> None:
    """Write a PNG; floats, which radiance is read as, get 16 bits a channel."""
    write_photo(path, Photo(quantised(pixels, np.uint16) if pixels.dtype == np.float32 else pixels, "PNG", b"", b""))
