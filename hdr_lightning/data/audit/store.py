"""Looks of many photos in a temporary file, so that the memory does not grow with the data set."""

import tempfile
from types import TracebackType

import numpy as np

from hdr_lightning.data.audit.looks import POINTS, THUMB, Look

ROW = np.dtype(
    [
        ("size", np.int32, 2),
        ("count", np.int32),
        ("points", np.float32, (POINTS, 2)),
        ("descriptors", np.uint8, (POINTS, 128)),
        ("thumb", np.uint8, (THUMB, THUMB)),
    ]
)
"""72 kB a photo."""


class LookStore:
    """A list of looks on disk, removed when it is closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._count = 0

    def __enter__(self) -> "LookStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def append(self, look: Look) -> None:
        """Add a look at the end."""
        row = np.zeros(1, ROW)
        count = len(look.points)
        row["size"], row["count"], row["thumb"] = look.size, count, look.thumb
        row["points"][0, :count], row["descriptors"][0, :count] = look.points, look.descriptors
        self._file.seek(self._count * ROW.itemsize)
        self._file.write(row.tobytes())
        self._count += 1

    def __getitem__(self, index: int) -> Look:
        if not 0 <= index < self._count:
            raise IndexError(index)
        self._file.seek(index * ROW.itemsize)
        row = np.frombuffer(self._file.read(ROW.itemsize), ROW)[0]
        count = int(row["count"])
        return Look(
            (int(row["size"][0]), int(row["size"][1])), row["points"][:count], row["descriptors"][:count], row["thumb"]
        )
