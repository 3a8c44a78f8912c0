"""Enhanced photos written by a thread, with a line in the journal for each, while others are worked on."""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.data.ahead import SMALL, Opened
from hdr_lightning.data.files import Photo, to_pixels, write_photo
from hdr_lightning.errors import InputError
from hdr_lightning.inference.enhancer import Edited
from hdr_lightning.inference.jobs import Job, comparison
from hdr_lightning.inference.journal import Journal


@dataclass
class Times:
    """Seconds that went into photos, and for which the network waited for reading and writing."""

    reading: float = 0.0
    network: float = 0.0
    writing: float = 0.0
    waited: float = 0.0

    def __add__(self, other: "Times") -> "Times":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Times(*(mine + theirs for mine, theirs in pairs))

    def __str__(self) -> str:
        whole = max(self.network + self.waited, 1e-9)
        return (
            f"network {self.network:.1f} s, beside it reading {self.reading:.1f} s and writing {self.writing:.1f} s; "
            f"{self.waited / whole:.1%} of the time waiting for these two"
        )


class PhotoWriting:
    """Writes photos while the next ones are worked on; at most two wait, or one where they are large.

    Args:
        journal: gets a line a photo.
        compare: whether pictures of source and result side by side are written, too.

    Attributes:
        done: how many were written.
        failures: what went wrong, a line a photo.
        times: what it took.
    """

    def __init__(self, journal: Journal, compare: bool = False) -> None:
        self.journal = journal
        self.compare = compare
        self.done = 0
        self.failures: list[str] = []
        self.times = Times()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writing")
        self._under_way: deque[Future[None]] = deque()

    def write(self, job: Job, opened: Opened, edited: Edited, seconds: float) -> None:
        """Write a photo, soon.

        Args:
            job: where.
            opened: the source.
            edited: what it became.
            seconds: that the network took.
        """
        self.times.reading += opened.seconds
        self.times.network += seconds
        self._wait(1 if edited.image.nbytes < SMALL else 0)
        self._under_way.append(self._thread.submit(self._write, job, opened, edited, seconds))

    def fail(self, path: Path, error: InputError) -> None:
        """Note a photo that could not be enhanced."""
        self.failures.append(str(error) if str(path) in str(error) else f"{path}: {error}")

    def finish(self) -> None:
        """Wait until everything is written."""
        self._wait(0)
        self._thread.shutdown()

    def _wait(self, most: int) -> None:
        began = time.monotonic()
        while len(self._under_way) > most:
            self._under_way.popleft().result()
        self.times.waited += time.monotonic() - began

    def _write(self, job: Job, opened: Opened, edited: Edited, seconds: float) -> None:
        began = time.monotonic()
        try:
            photo = opened.photo
            pixels = to_pixels(edited.image, photo.pixels.dtype)
            if self.compare:
                write_photo(comparison(job, self.journal.folder), _side_by_side(opened.image, edited))

            def record(written: Path) -> None:
                taken = {"reading": opened.seconds, "network": seconds, "writing": time.monotonic() - began}
                self.journal.record(job, edited.passes, taken, opened.state, written)

            write_photo(job.target, replace(photo, pixels=pixels), record)
            took = time.monotonic() - began
        except InputError as error:
            self.fail(job.source, error)
            return
        self.done += 1
        self.times.writing += took


def _side_by_side(source: Float[Tensor, "3 h w"], edited: Edited) -> Photo:
    """Source and result as one JPEG, with a white line between them."""
    left, right = to_pixels(source), to_pixels(edited.image)
    line = np.full((len(left), max(2, left.shape[1] // 200), 3), 255, np.uint8)
    return Photo(np.concatenate((left, line, right), axis=1), "JPEG", b"", b"")
