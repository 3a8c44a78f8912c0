"""Checkpoint files: written whole or not at all, by a thread, and checked before they are trusted."""

import os
import shutil
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError

LAST = "last"
"""Name of the newest checkpoint of a run, without suffix; `last_1` is the one before."""

MOST = 9
"""The most of the newest that are kept."""


class CheckpointWriter(TorchCheckpointIO):
    """Saves checkpoints while the training goes on: their values are copied at once, and written by a thread.

    A file is written beside its name, read back against the checksums that it holds, synced, and renamed. A save that
    fails is told when the next one begins, or by `wait`; the files before stay.

    Attributes:
        keep: how many of the newest checkpoints (`last.ckpt`, `last_1.ckpt`, ...) stay.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keep = 2
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._under_way: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        failure = self.wait()  # one at a time: a slow disk must not fill the memory with copies
        if failure is not None:
            rank_zero_warn(f"{failure}. The training goes on, and the checkpoints before are as they were")
        copy = apply_to_collection(checkpoint, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
        self._under_way = self._thread.submit(_write, copy, Path(path), self.keep)

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._under_way is not None and not self._under_way.done()

    def wait(self) -> InputError | None:
        """Wait for the save under way, if there is one.

        Returns:
            Why it failed.
        """
        under_way, self._under_way = self._under_way, None
        failure = None if under_way is None else under_way.exception()
        if failure is not None and not isinstance(failure, InputError):
            raise failure
        return failure

    def remove_checkpoint(self, path: str | Path) -> None:
        self.wait()
        super().remove_checkpoint(path)

    def teardown(self) -> None:
        failure = self.wait()
        if failure is not None:
            rank_zero_warn(str(failure))


def _write(checkpoint: dict[str, Any], path: Path, keep: int) -> None:
    with writing(path) as temporary:
        try:
            torch.save(checkpoint, temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(str(error).splitlines()[0]) from error
        if not is_sound(temporary):
            raise OSError("what was read back is not what was written")
        if path.stem == LAST:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # before the others move: a disk may refuse the last bytes until now
            _make_room(path, keep)


def _make_room(path: Path, keep: int) -> None:
    """Rename the newest checkpoints to older ones. A process that dies in between leaves all of them whole."""
    for age in range(keep - 1, 0, -1):
        younger, older = aged(path, age - 1), aged(path, age)
        if younger.exists():
            _discard_folder(older)
            younger.replace(older)


def aged(path: Path, age: int) -> Path:
    """What the newest checkpoint, `last.ckpt`, is called when so many newer ones are kept: `last_1.ckpt`, ..."""
    return path.with_stem(f"{LAST}_{age}") if age else path


def save_folder(trainer: Trainer, path: Path, keep: int) -> None:
    """Save a checkpoint of DeepSpeed, to which all ranks write files: under another name, until it is whole.

    Args:
        trainer: under DeepSpeed.
        path: of the folder.
        keep: how many of the newest stay.
    """
    part = path.with_name(f".{path.name}.part")
    trainer.save_checkpoint(part, weights_only=False)  # returns when all ranks have written
    if trainer.is_global_zero:
        _make_room(path, keep)
        _discard_folder(path)
        part.replace(path)
    trainer.strategy.barrier("checkpoint")


def _discard_folder(path: Path) -> None:
    """Delete a folder; one that is half deleted has a name that is swept."""
    if path.is_dir():
        part = path.with_name(f".{path.name}.old.part")
        path.replace(part)
        shutil.rmtree(part)


def is_sound(path: Path) -> bool:
    """Whether a checkpoint is what was written: its archive holds a CRC-32 of every part."""
    if path.is_dir():
        return (path / "latest").is_file()  # by DeepSpeed, whose folder has no checksums
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return False
        torch.load(path, "cpu", mmap=True, weights_only=True)  # is stricter on the archive's own headers
    except UnpicklingError:
        return True  # whole, and refused by whoever reads it
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        return False
    return True


def sweep(part: Path) -> None:
    """Delete what was left half written, a file or a folder, where another process has not done so."""
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(OSError):
            part.unlink()


def newest_checkpoint(folder: Path) -> Path | None:
    """Find what a run goes on from, and sweep what a process that died left half written.

    Args:
        folder: of checkpoints.

    Returns:
        The newest one that is sound; damaged ones are renamed and told. Nothing where there is none at all.

    Raises:
        InputError: if there are some, and all are damaged.
    """
    for part in folder.glob(".*.part"):
        sweep(part)
    damaged = list(folder.glob("*.damaged"))
    for path in (aged(folder / f"{LAST}.ckpt", age) for age in range(MOST)):
        if not path.exists():
            continue
        if is_sound(path):
            return path
        damaged.append(path.with_name(f"{path.name}.damaged"))
        with suppress(FileNotFoundError):  # another process of the run was faster
            path.replace(damaged[-1])
        rank_zero_warn(f"{path} is damaged, and is now {damaged[-1].name}: the checkpoint before it is taken")
    if damaged:
        raise InputError(
            f"{folder}: every checkpoint is damaged ({', '.join(path.name for path in damaged)}): begin anew with "
            "another --run, from best.ckpt if you like (--ckpt_path)"
        )
    return None
