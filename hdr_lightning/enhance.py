"""Enhance photos with a trained generator."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from hdr_lightning.data.files import (
    PHOTO_SUFFIXES,
    Photo,
    make_folder,
    output_name,
    read_photo,
    to_pixels,
    to_tensor,
    write_photo,
)
from hdr_lightning.data.sources.base import photos_below
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator, edit
from hdr_lightning.generators.loading import find_checkpoint, load_generator
from hdr_lightning.generators.maps import bounded
from hdr_lightning.progress import track

Device = Literal["auto", "cpu", "cuda", "mps"]


def enhance(
    photos: Sequence[Path],
    checkpoint: Path,
    output: Path,
    device: Device = "auto",
    overwrite: bool = False,
    modules: Sequence[str] = (),
    memory: float | None = None,
) -> list[Path]:
    """Enhance photos: same names, sizes, formats, bit depths, EXIF, XMP, colour profiles and transparency, elsewhere.

    RAW files, which cannot be written, become TIFFs with 16 bits a channel.

    A photo that cannot be enhanced is named at the end, and the others are done.

    Args:
        photos: photos, or folders of photos, whose hidden files are left.
        checkpoint: a checkpoint of `fit`, the folder of its run, or a folder of runs, of which the newest is taken.
        output: folder for the enhanced photos; made if needed.
        device: where to compute; auto takes a GPU if there is one.
        overwrite: whether photos that are in the output folder already may be replaced.
        modules: Python modules to import first, if the generator is your own.
        memory: gigabytes to work in on a CPU; features of photos that need more go to temporary files, with the same
            result. Without it the memory is not limited.

    Returns:
        The photos written.

    Raises:
        InputError: if there is nothing to do, an output is there already or would replace its input, the checkpoint is
            none, or a photo could not be enhanced.
    """
    jobs = _plan(photos, output, overwrite)
    path = find_checkpoint(checkpoint)
    generator = load_generator(path, modules)
    make_folder(output)
    chosen = _choose(device)
    generator.to(chosen)
    print(f"{len(jobs)} photos with {type(generator).__name__} of {path} on {chosen}")
    renamed = sum(source.suffix != target.suffix for source, target in jobs)
    if renamed:
        print(f"{renamed} of them are RAW and become TIFFs with 16 bits a channel (.tif)")

    failures: list[str] = []
    for source, target in track(jobs, "enhancing", len(jobs)):
        try:
            with bounded(memory):
                write_photo(target, enhance_photo(generator, read_photo(source)))
        except InputError as error:
            failures.append(str(error) if str(source) in str(error) else f"{source}: {error}")
    if failures:
        raise InputError(f"{len(failures)} of {len(jobs)} photos were not enhanced:\n  " + "\n  ".join(failures))
    return [target for _, target in jobs]


def enhance_photo(generator: Generator, photo: Photo) -> Photo:
    """Enhance one photo on the device of the generator.

    Raises:
        InputError: if the result is not finite, or there is not enough memory.
    """
    device = next(generator.parameters()).device
    image = to_tensor(photo.pixels)[None]
    try:
        with torch.inference_mode():
            result = edit(generator, image.to(device))[0].cpu()
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if "memory" not in str(error):
            raise
        raise InputError(
            f"{image.shape[-1]} x {image.shape[-2]} pixels do not fit the memory of {device} with this generator: "
            "give --memory with --device cpu, or make the photo smaller"
        ) from None
    broken = int((~result.isfinite()).sum())
    if broken:
        raise InputError(f"the generator made {broken} values that are not finite: do not use this checkpoint")
    return replace(photo, pixels=to_pixels(result, photo.pixels.dtype))


def _plan(photos: Sequence[Path], output: Path, overwrite: bool) -> list[tuple[Path, Path]]:
    """Pair each photo with the file that it becomes; refuse what would be lost."""
    jobs = [(source, output / output_name(name)) for path in photos for source, name in _expand(path, output)]
    taken: dict[Path, Path] = {}
    for source, target in jobs:
        if target.exists() and target.samefile(source):
            raise InputError(f"{source} would be written onto itself: choose another --output than its own folder")
        if target in taken:
            raise InputError(
                f"{taken[target]} and {source} would both become {target}: enhance them one after the other"
            )
        if target.exists() and not overwrite:
            raise InputError(f"{target} is there already: choose another --output, or replace it with --overwrite=true")
        taken[target] = source
    return jobs


def _expand(path: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """A photo, or the photos below a folder (hidden ones are none), with the name that each keeps."""
    if path.is_file():
        yield path, Path(path.name)
        return
    if not path.is_dir():
        raise InputError(f"{path}: there is no such photo or folder")
    own = path.resolve() in output.resolve().parents  # what an earlier run wrote below the folder is no input
    photos = [file for file in photos_below(path) if not (own and output.resolve() in file.resolve().parents)]
    if not photos:
        raise InputError(f"{path}: the folder holds no photos ({', '.join(sorted(PHOTO_SUFFIXES))})")
    yield from ((photo, photo.relative_to(path)) for photo in photos)


def _choose(device: Device) -> torch.device:
    if device != "auto":
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not available[device]:
            raise InputError(f"--device {device}: there is none on this machine; --device auto takes what there is")
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
