"""What is known of photos that have not changed since: a second run need not decode them again.

Kept in the user's cache folder, never beside the photos, one file for each folder of sources. A photo counts as
unchanged while path, size and time of modification (in nanoseconds) stay.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import platformdirs

from hdr_lightning.data.audit.photos import PhotoFacts
from hdr_lightning.data.files import file_state, writing
from hdr_lightning.errors import InputError

FORMAT = 1
"""Goes up whenever a fact changes its meaning."""


class FactCache:
    """Facts of photos by path.

    Args:
        folders: where the photos lie; equal folders share a file.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        name = "\n".join(sorted({str(folder.absolute()) for folder in folders}))
        key = hashlib.sha256(f"{FORMAT}\n{name}".encode()).hexdigest()[:20]
        self.path = platformdirs.user_cache_path("hdr_lightning") / "audit" / f"{key}.json"
        self._rows: dict[str, list[object]] = _read(self.path)
        self._changed = False

    def get(self, photo: Path) -> PhotoFacts | None:
        """Facts of a photo, or nothing if it is new, changed or not there."""
        row = self._rows.get(str(photo.absolute()))
        if row is None or row[0] != _stamp(photo):
            return None
        return PhotoFacts(*row[1:])  # type: ignore[arg-type]

    def put(self, photo: Path, facts: PhotoFacts) -> None:
        """Keep the facts of a photo."""
        self._rows[str(photo.absolute())] = [_stamp(photo), *asdict(facts).values()]
        self._changed = True

    def save(self) -> None:
        """Write what is new. Where the folder cannot be written, a warning says so, and nothing else happens."""
        if not self._changed:
            return
        try:
            with writing(self.path) as temporary:
                temporary.write_text(json.dumps(self._rows), encoding="utf-8")
        except InputError as error:
            warnings.warn(f"the next run will check the photos again: {error}", stacklevel=2)
        self._changed = False


def _read(path: Path) -> dict[str, list[object]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or spoilt: the photos tell it again
        return {}
    length = 1 + len(fields(PhotoFacts))
    sound = rows.items() if isinstance(rows, dict) else ()
    return {photo: row for photo, row in sound if isinstance(row, list) and len(row) == length}


def _stamp(photo: Path) -> list[int] | None:
    try:
        return file_state(photo)
    except OSError:
        return None
