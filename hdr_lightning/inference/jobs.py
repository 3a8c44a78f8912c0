"""Which photos are enhanced, and what each becomes."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hdr_lightning.data.files import PHOTO_SUFFIXES, output_name
from hdr_lightning.data.sources.base import photos_below
from hdr_lightning.errors import InputError


class Job(NamedTuple):
    """A photo, and the file that it becomes."""

    source: Path
    target: Path


def comparison(job: Job, output: Path) -> Path:
    """The file that shows source and result of a photo of the output folder side by side."""
    name = job.target.relative_to(output)
    return output / "compare" / name.with_name(f"{name.name}.jpg")


def plan(photos: Sequence[Path], output: Path, compare: bool = False) -> list[Job]:
    """Pair each photo with the file that it becomes.

    Args:
        photos: photos; folders, whose hidden files are left; or patterns with * and ?, where ** is any depth of
            folders. What lies in a folder, or below the part of a pattern that has no * in it, keeps its place there.
        output: folder of what they become.
        compare: whether pictures of source and result side by side are written, too.

    Raises:
        InputError: if there is no such photo, two would become one, or one would be written onto itself.
    """
    jobs = [Job(source, output / output_name(name)) for path in photos for source, name in _expand(path, output)]
    taken: dict[Path, Path] = {}
    for source, target in jobs:
        if target.exists() and target.samefile(source):
            raise InputError(f"{source} would be written onto itself: choose another --output than its own folder")
        if target in taken:
            raise InputError(
                f"{taken[target]} and {source} would both become {target}: enhance them one after the other"
            )
        taken[target] = source
    for job in jobs if compare else ():
        if (shown := comparison(job, output)) in taken:
            raise InputError(
                f"{taken[shown]} would become {shown}, where --compare shows {job.source}: enhance that photo alone"
            )
    return jobs


def _expand(path: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """What a photo, a folder or a pattern stands for, with the name that each photo keeps."""
    if path.is_file():
        yield path, Path(path.name)
    elif path.is_dir():
        photos = _foreign(photos_below(path), path, output)
        if not photos:
            raise InputError(f"{path}: the folder holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
        yield from ((photo, photo.relative_to(path)) for photo in photos)
    elif glob.has_magic(str(path)):
        yield from _match(path, output)
    else:
        raise InputError(f"{path}: there is no such photo or folder")


def _match(pattern: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    first = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:first])
    found = sorted(Path(path) for path in glob.glob(str(pattern), recursive=True))  # noqa: PTH207 - leaves hidden files
    photos = [path for path in found if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()]
    photos = _foreign(photos, root, output)
    if not photos:
        raise InputError(f"{pattern}: no photo matches ({', '.join(sorted(PHOTO_SUFFIXES))})")
    yield from ((photo, photo.relative_to(root)) for photo in photos)


def _foreign(photos: Sequence[Path], folder: Path, output: Path) -> list[Path]:
    """Photos but for those that an earlier run wrote below their own folder."""
    below = output.resolve()
    if folder.resolve() not in below.parents:
        return list(photos)
    return [photo for photo in photos if below not in photo.resolve().parents]
