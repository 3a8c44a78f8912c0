"""What was enhanced into a folder, by whom and from what: so that an interrupted command goes on where it stopped."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from hdr_lightning.data.files import content_hash, file_state
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator
from hdr_lightning.inference.jobs import Job
from hdr_lightning.inference.large import Passed
from hdr_lightning.inference.settings import Editing

NAME = "journal"

KINDS = {"source": str, "source_state": list, "target": str, "target_state": list, "making": dict}
"""What a line has at least."""

NEUTRAL = ("memory", "guard")
"""Settings that do not change a picture."""


class Journal:
    """One line of JSON a photo, in the folder of what was made; processes write to files of their own.

    A photo is done if a line says that it was made of this source, with these settings and weights, and the file is
    still as it was written. Files are told by their size and time.

    Args:
        folder: of what is made.
        editing: how photos are enhanced.
        weights: what `fingerprint` says of the networks.
        rank: the number of this process.
    """

    def __init__(self, folder: Path, editing: Editing, weights: str, rank: int = 0) -> None:
        self.folder = folder
        self.path = folder / (f"{NAME}_{rank}.jsonl" if rank else f"{NAME}.jsonl")
        settings = asdict(editing)
        self.making = {"weights": weights, **{name: settings[name] for name in settings if name not in NEUTRAL}}
        self._turn = Lock()
        self._begun = False

    def left(self, jobs: Sequence[Job], overwrite: bool) -> list[Job]:
        """What is still to be done.

        Args:
            jobs: all photos.
            overwrite: whether files that are not what would be made may be replaced.

        Raises:
            InputError: if such a file is there, and may not.
        """
        known: dict[str, list[dict[str, Any]]] = {}
        for line in self._lines():
            known.setdefault(line["target"], []).append(line)
        left = []
        for job in jobs:
            if job.target.exists():
                reasons = [self._other(job, line) for line in known.get(self._name(job), ())] or [""]
                if None in reasons:
                    continue
                if not overwrite:
                    reason = reasons[-1]
                    raise InputError(
                        f"{job.target} is there already{reason}: choose another --output, or replace it with "
                        "--overwrite"
                    )
            left.append(job)
        return left

    def record(
        self, job: Job, passes: Sequence[Passed], seconds: dict[str, float], source: Sequence[int], written: Path
    ) -> None:
        """Add a photo that is complete and takes its place next, so that nothing is there without a line.

        Args:
            job: the photo, and what it becomes.
            passes: how it passed the networks.
            seconds: that its parts took.
            source: state of the photo when it was read.
            written: the file that it became, under whatever name.

        Raises:
            InputError: if the journal cannot be written.
        """
        line = {
            "source": str(job.source),
            "source_state": list(source),
            "target": self._name(job),
            "target_state": file_state(written),
            "making": self.making,
            "method": sorted({each.method for each in passes}),
            "seam": max(each.seam for each in passes),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        }
        text = json.dumps(line) + "\n"
        try:
            with self._turn, self.path.open("a", encoding="utf-8") as file:
                if not self._begun and _is_cut(self.path):
                    file.write("\n")
                self._begun = True
                file.write(text)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _other(self, job: Job, line: dict[str, Any]) -> str | None:
        """Why a file is not what would be made, by one line; nothing if it is."""
        changed = [name for name, value in self.making.items() if line["making"].get(name) != value]
        if line["source"] != str(job.source):
            return f", made from {line['source']}"
        if line["source_state"] != file_state(job.source):
            return f", and {job.source} has changed since it was made"
        if changed:
            told = {name: (line["making"].get(name), self.making[name]) for name in changed}
            return ", made with " + ", ".join(f"other {name} ({old}, now {new})" for name, (old, new) in told.items())
        if line["target_state"] != file_state(job.target):
            return ", and was changed since it was made"
        return None

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Lines that are whole, of all processes, older ones first."""
        for path in sorted(self.folder.glob(f"{NAME}*.jsonl"), key=lambda path: path.stat().st_mtime_ns):
            try:
                texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}): choose another --output") from None
            for text in texts:
                try:
                    line = json.loads(text)
                except json.JSONDecodeError:
                    continue  # a process was killed while it wrote it
                if isinstance(line, dict) and {name: type(line.get(name)) for name in KINDS} == KINDS:
                    yield line

    def _name(self, job: Job) -> str:
        return job.target.relative_to(self.folder).as_posix()


def fingerprint(models: Sequence[Generator], files: Sequence[Path] = ()) -> str:
    """What tells networks apart: a hash of their names and values, 16 hexadecimal digits.

    Args:
        models: the networks.
        files: of each, for exports that show no values.
    """
    digest = hashlib.sha256()
    for number, model in enumerate(models):
        if not any(value.numel() for value in model.state_dict().values()) and files:
            digest.update(content_hash(files[number]).encode())
        digest.update(type(model).__name__.encode())
        for name, value in model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _is_cut(path: Path) -> bool:
    """Whether a file ends in the middle of a line."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
