"""Photos read by threads while others are worked on."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from hdr_lightning.data.files import Photo, file_state, read_photo, to_tensor
from hdr_lightning.errors import InputError

SMALL = 2**28
"""Bytes of a picture up to which two photos are read ahead; beyond, one."""


class Opened:
    """A photo that was read; no tuple or dataclass, which the trainer would take apart.

    Attributes:
        path: of its file.
        photo: what the file holds.
        image: its pixels.
        seconds: that reading took.
        state: of the file, before it was read.
    """

    def __init__(
        self, path: Path, photo: Photo, image: Float[Tensor, "3 h w"], seconds: float, state: Sequence[int]
    ) -> None:
        self.path = path
        self.state = state
        self.photo = photo
        self.image = image
        self.seconds = seconds


class Unreadable:
    """A photo that could not be read.

    Attributes:
        path: of its file.
        error: why.
        seconds: that finding out took.
    """

    def __init__(self, path: Path, error: InputError, seconds: float) -> None:
        self.path = path
        self.error = error
        self.seconds = seconds


class PhotosAhead:
    """Photos in their order, of which the next one or two are read while one is worked on.

    Args:
        paths: of the files.

    Attributes:
        waited: seconds for which the next photo was not there yet.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Opened | Unreadable]:
        left, ahead = iter(self.paths), deque[Future[Opened | Unreadable]]()
        small = False
        with ThreadPoolExecutor(2, thread_name_prefix="reading") as threads:
            try:
                while True:
                    while len(ahead) < (2 if small else 1) and (path := next(left, None)) is not None:
                        ahead.append(threads.submit(_open, path))
                    if not ahead:
                        return
                    began = time.monotonic()
                    opened = ahead.popleft().result()
                    self.waited += time.monotonic() - began
                    small = isinstance(opened, Opened) and opened.image.nbytes < SMALL
                    if (path := next(left, None)) is not None:
                        ahead.append(threads.submit(_open, path))
                    yield opened
            finally:
                for each in ahead:
                    each.cancel()


def _open(path: Path) -> Opened | Unreadable:
    began = time.monotonic()
    try:
        state = file_state(path) if path.is_file() else []
        photo = read_photo(path)
    except InputError as error:
        return Unreadable(path, error, time.monotonic() - began)
    return Opened(path, photo, to_tensor(photo.pixels), time.monotonic() - began, state)
