"""Enhance photos with trained networks."""

import time
from collections.abc import Sequence
from pathlib import Path

from hdr_lightning.data.ahead import PhotosAhead, Unreadable
from hdr_lightning.data.files import make_folder
from hdr_lightning.errors import InputError, PhotosFailed, RunInterrupted
from hdr_lightning.exports.reading import find_model
from hdr_lightning.inference.enhancer import Device, Enhancer, find_ensemble, load
from hdr_lightning.inference.jobs import Job, comparison, plan
from hdr_lightning.inference.journal import Journal, fingerprint
from hdr_lightning.inference.settings import Editing, Method
from hdr_lightning.inference.writing import PhotoWriting
from hdr_lightning.progress import track
from hdr_lightning.signals import SIGNALS


def enhance(
    photos: Sequence[Path],
    output: Path,
    checkpoint: Path | None = None,
    ensemble: list[Path] | Path | None = None,
    device: Device = "auto",
    overwrite: bool = False,
    dry_run: bool = False,
    compare: bool = False,
    tta: bool = False,
    strength: float = 1.0,
    sharpen: float = 0.0,
    guard: bool = True,
    method: Method = "auto",
    memory: float | None = None,
    tile: int | None = None,
    overlap: int = 64,
    modules: Sequence[str] = (),
) -> list[Path]:
    """Enhance photos: same names, sizes, formats, bit depths, EXIF, XMP, colour profiles and transparency, elsewhere.

    RAW files, which cannot be written, become TIFFs with 16 bits a channel. Interrupted, the same command goes on where
    it stopped. A photo that cannot be enhanced is named at the end, and the others are done.

    Args:
        photos: photos; folders of photos, whose hidden files are left; or quoted patterns such as 'photos/**/*.jpg'.
        output: folder for the enhanced photos; made if needed.
        checkpoint: a checkpoint of `fit`, the folder of its run, a folder of runs, of which the newest is taken, or an
            export.
        ensemble: several of these, whose results are averaged, in place of `checkpoint`; or one folder of runs, such as
            folds, of which the best of every run is taken.
        device: where to compute; auto takes a GPU if there is one.
        overwrite: whether photos in the output folder that are not what would be made may be replaced.
        dry_run: only tell what would be done.
        compare: whether pictures of source and result side by side are written to `compare` in the output folder.
        tta: whether the results of the eight flips and quarter turns are averaged; takes eight times as long.
        strength: share of the result in a blend with the source: 0 is the source, 1 the result.
        sharpen: amount of a light unsharp mask: 0 is none, 1 strong.
        guard: whether results are refused that cannot be an edit of their photo.
        method: how a photo passes the network: whole, in strips with the same result in less memory, or in overlapping
            tiles; auto takes the first that fits.
        memory: gigabytes (10^9 bytes) to work in; what is free if nothing is given.
        tile: side of a tile in pixels; the largest that fits if nothing is given.
        overlap: pixels that tiles share.
        modules: Python modules to import first, if the generator is your own.

    Returns:
        The enhanced photos, those of an earlier run among them.

    Raises:
        InputError: if there is nothing to do, an output is there already or would replace its input, or the checkpoint
            is none.
        PhotosFailed: if a photo could not be enhanced.
        RunInterrupted: if a signal ended it.
    """
    editing = Editing(method, memory, tile, overlap, tta, strength, sharpen, guard)
    jobs = plan(photos, output, compare)
    models = _models(checkpoint, ensemble)
    enhancer = load(models, device, editing, modules)
    journal = Journal(output, editing, fingerprint(enhancer.models, models))
    left = set(journal.left(jobs, overwrite))
    todo = [job for job in jobs if job in left or (compare and not comparison(job, output).exists())]
    _tell(jobs, todo, enhancer, models)
    if dry_run:
        print("\n".join(f"{source} -> {target}" for source, target in todo))
        return []
    make_folder(output)
    if todo:
        _work(enhancer, todo, PhotoWriting(journal, compare), len(jobs))
    return [job.target for job in jobs]


def _models(checkpoint: Path | None, ensemble: list[Path] | Path | None) -> list[Path]:
    if (checkpoint is None) == (ensemble is None):
        raise InputError("expected either --checkpoint or --ensemble, to say which network enhances the photos")
    named = find_ensemble(ensemble) if ensemble is not None else [checkpoint] if checkpoint is not None else []
    return [find_model(path) for path in named]  # what is told, and hashed, is what is loaded


def _tell(jobs: Sequence[Job], todo: Sequence[Job], enhancer: Enhancer, models: Sequence[Path]) -> None:
    """Say what is about to happen."""
    done = f", {len(jobs) - len(todo)} of {len(jobs)} are done already" if len(todo) < len(jobs) else ""
    kinds = " and ".join(sorted({type(model).__name__ for model in enhancer.models}))
    several = f"the average of {len(models)} networks, " if len(models) > 1 else ""
    print(f"{len(todo)} photos with {several}{kinds} of {', '.join(map(str, models))} on {enhancer.device}{done}")
    renamed = sum(source.suffix != target.suffix for source, target in todo)
    if renamed:
        print(f"{renamed} of them are RAW and become TIFFs with 16 bits a channel (.tif)")


def _work(enhancer: Enhancer, todo: Sequence[Job], writing: PhotoWriting, total: int) -> None:
    """Enhance photos, and tell how it went."""
    ahead = PhotosAhead([job.source for job in todo])
    with SIGNALS.listening():
        try:
            for job, opened in zip(todo, track(ahead, "enhancing", len(todo)), strict=True):
                if isinstance(opened, Unreadable):
                    writing.fail(opened.path, opened.error)
                    continue
                began = time.monotonic()
                try:
                    edited = enhancer.edit(opened.image)
                except InputError as error:
                    writing.fail(opened.path, error)
                    continue
                writing.write(job, opened, edited, time.monotonic() - began)
        except RunInterrupted as interrupt:
            SIGNALS.defer()  # what is being written is finished
            writing.finish()
            done = total - len(todo) + writing.done
            raise RunInterrupted(
                f"{done} of {total} photos are done; the same command goes on", interrupt.code
            ) from None
        finally:
            writing.finish()
    writing.times.waited += ahead.waited
    print(f"{writing.done} photos: {writing.times}")
    if writing.failures:
        raise PhotosFailed(len(todo), writing.failures)
