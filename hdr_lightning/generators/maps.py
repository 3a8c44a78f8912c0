"""Feature maps of photos that are larger than the memory for them: in temporary files, of which little is in memory."""

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from hdr_lightning.errors import InputError


class _Bound(NamedTuple):
    largest: int
    folder: Path | None


_bound: ContextVar[_Bound | None] = ContextVar("bound", default=None)
_files: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()
"""Files of maps by the address of their memory, as long as a tensor uses them."""


@contextmanager
def bounded(memory: float | None, folder: Path | None = None) -> Iterator[None]:
    """Keep feature maps of large photos in temporary files while this lasts.

    A generator made of `Block`s then enhances a photo of any size with the same result, bit for bit, in roughly so much
    memory beside that of its weights and of the photo itself; what does not fit lies in files that vanish.

    Args:
        memory: gigabytes (10^9 bytes); nothing where memory is not bounded.
        folder: where the files go; the folder for temporary files if nothing is given.

    Raises:
        InputError: if the memory is not above 0.
    """
    if memory is None:
        yield
        return
    if not memory > 0:
        raise InputError(f"expected a memory above 0 GB, got {memory}")
    token = _bound.set(_Bound(int(memory * 1e9 / 16), folder))
    try:
        yield
    finally:
        _bound.reset(token)


def empty_map(like: Tensor, *shape: int) -> Tensor:
    """Uninitialised memory of the type of a tensor, in a temporary file where it would be too large for memory.

    Raises:
        InputError: if there is no room for the file.
    """
    bound = _bound.get()
    size = like.element_size()
    for length in shape:
        size *= length
    if bound is None or size <= bound.largest or not like.is_cpu:
        return like.new_empty(shape)
    try:
        with tempfile.TemporaryFile(dir=bound.folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is told now; later it would end the process
            else:
                file.truncate(size)
            memory = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise InputError(
            f"no room for {size / 1e9:.1f} GB of features in {bound.folder or tempfile.gettempdir()} "
            f"({error.strerror}): set TMPDIR to a larger disk, or allow more memory"
        ) from None
    tensor = torch.frombuffer(memory, dtype=like.dtype).view(shape)
    _files[tensor.data_ptr()] = memory
    return tensor


def let_go(*maps: Tensor) -> None:
    """Give back the memory of maps that lie in files; their content stays."""
    if not _files or not hasattr(mmap, "MADV_DONTNEED"):
        return
    for each in maps:
        file = _files.get(each.untyped_storage().data_ptr())
        if file is not None:
            file.madvise(mmap.MADV_DONTNEED)
