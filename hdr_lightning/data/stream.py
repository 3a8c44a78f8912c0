"""Pairs in shards: a few large files in place of many small ones, on a disk or in object storage, through litdata.

Shards hold the encoded photos as they are. Read back, each pair lies in temporary files for as long as it is needed, so
that reading, reducing and augmenting are those of any other pair: a sample depends on (seed, epoch, index) alone.
"""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from hdr_lightning.data.audit import check_pairs, refuse_equal_photos
from hdr_lightning.data.contents import refuse_shared_content, refuse_shared_files
from hdr_lightning.data.files import writing_folder
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.splits import HeldOut
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

if TYPE_CHECKING:
    from litdata import StreamingDataset

SMALLEST = "smallest.json"
"""Beside the shards of a folder: the shortest side of their photos, in pixels, and which photo has it."""

HELD = 4
"""Pairs of a process that lie in temporary files at once."""


def shard(
    pairs: Sequence[Path],
    output: Path,
    test: HeldOut = 5,
    validation: float = 0.1,
    split_seed: int = 0,
    split: Path | None = None,
    shard_mb: int = 64,
    folds: int = 0,
    fold: int = 0,
    quarantine: Path | None = None,
) -> Path:
    """Write training and validation pairs to shards, to train with `--data.stream=FOLDER`; no photo of the test set.

    Photos are checked as before a training, and training pairs shuffled, so that neighbours share no house.

    Args:
        pairs: a JSONL manifest, or a folder of sources and a folder of targets.
        output: a folder that does not exist yet; it can be copied to object storage as it is.
        test: what is held out, as `data.test`.
        validation: share of the remaining pairs that validate, as `data.validation`.
        split_seed: chooses which, as `data.split_seed`.
        split: a file of `hdr-lightning split` that says all this, as `data.split`.
        shard_mb: size of a shard in 10^6 bytes, 1 or more.
        folds: divide the remaining pairs into so many parts, of which one validates, as `data.folds`.
        fold: which, as `data.fold`.
        quarantine: a list of pairs to leave out, as `data.quarantine`.

    Returns:
        The folder.

    Raises:
        InputError: if litdata is missing, a number is out of range, the folder exists or cannot be written, or the
            pairs cannot be used.
    """
    _require_litdata()
    if shard_mb < 1:
        raise InputError(f"shard_mb is to be 1 or more, got {shard_mb}")
    if output.exists():
        raise InputError(f"{output} exists: choose another --output, or remove it")
    origin = pairs[0] if len(pairs) == 1 else list(pairs)
    data = PairDataModule(origin, test, validation, split_seed, folds, fold, split, quarantine=quarantine)
    parts = data.split
    refuse_shared_files(parts)
    train = check_pairs(parts.train, crop=None)
    refuse_equal_photos([*train, *check_pairs(parts.validation, None, "validation")])
    refuse_shared_content(parts, data.record, may_open_test=False)
    order = np.random.default_rng(split_seed).permutation(len(parts.train))
    with writing_folder(output) as part:
        _write(part / "train", [parts.train[int(index)] for index in order], shard_mb)
        _write(part / "validation", parts.validation, shard_mb)
        side, name = min((min(one.source.height, one.source.width), one.pair.name) for one in train if one.source)
        (part / "train" / SMALLEST).write_text(json.dumps({"side": side, "name": name}) + "\n", encoding="utf-8")
    print(f"{output}: {len(parts.train)} training and {len(parts.validation)} validation pairs")
    return output


def refuse_small(location: str, crop: int) -> None:
    """Refuse a crop that is larger than a photo in shards, where the folder says how large its photos are.

    Shards behind a URL, and those written before sizes were recorded, say nothing: there the crop itself refuses.

    Args:
        location: as `ShardPairs` takes it.
        crop: side of the largest crop of the training, in pixels.

    Raises:
        InputError: naming the smallest photo, or if the record of sizes is damaged.
    """
    record = Path(location) / SMALLEST
    if "://" in location or not record.is_file():
        return
    try:
        row = json.loads(record.read_text(encoding="utf-8"))
        side, name = int(row["side"]), str(row["name"])
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{record} is damaged: remove it, or write the shards again") from None
    if side < crop:
        raise InputError(
            f"{name} in the shards {location} has a side of {side} pixels, smaller than the crop of {crop}: "
            f"set data.crop, and that of all data.stages, to {side} or less"
        )


def _require_litdata() -> None:
    try:
        import litdata  # noqa: F401
    except ImportError:
        raise InputError("litdata is not installed: pip install 'hdr-lightning[stream]'") from None


def _write(folder: Path, pairs: Sequence[PairPaths], shard_mb: int) -> None:
    from litdata.streaming.writer import BinaryWriter

    folder.mkdir(parents=True)
    writer = BinaryWriter(str(folder), chunk_bytes=shard_mb * 10**6)
    for index, pair in enumerate(track(pairs, f"writing {folder.name} shards", len(pairs), "pair")):
        writer[index] = {
            "name": pair.name,
            "group": pair.group,
            "source_suffix": pair.source.suffix,
            "target_suffix": pair.target.suffix,
            "source": pair.source.read_bytes(),
            "target": pair.target.read_bytes(),
        }
    writer.done()
    writer.merge(1)


class ShardPairs(Sequence[PairPaths]):
    """Pairs whose files come out of shards when they are asked for.

    Only the last few pairs of a process are there at a time: read a pair before asking for many others.

    Args:
        location: folder or URL that holds the shards of one part, such as `rooms/train` or `s3://bucket/rooms/train`.

    Raises:
        InputError: if litdata is missing, there are no shards, or they cannot be opened.
    """

    def __init__(self, location: str) -> None:
        _require_litdata()

        if "://" not in location and not (Path(location) / "index.json").is_file():
            raise InputError(f"{location}: there are no shards; `hdr-lightning shard PAIRS --output FOLDER` makes them")
        self.shards = _open(location)
        # Its own length is the share of a rank.
        self.number = sum(end - start for start, end in self.shards.region_of_interest)
        self.folder = Path(tempfile.mkdtemp(prefix="hdr_lightning_"))
        weakref.finalize(self, _remove, self.folder, os.getpid())

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, index: int) -> PairPaths: ...

    @overload
    def __getitem__(self, index: slice) -> list[PairPaths]: ...

    def __getitem__(self, index: int | slice) -> PairPaths | list[PairPaths]:
        if isinstance(index, slice):
            raise TypeError("pairs in shards are taken one at a time")
        sample = self.shards[int(index)]
        own = self.folder / str(os.getpid())
        own.mkdir(exist_ok=True)
        source, target = (own / f"{index}_{role}{sample[f'{role}_suffix']}" for role in ("source", "target"))
        source.write_bytes(sample["source"])
        target.write_bytes(sample["target"])
        for old in sorted(own.iterdir(), key=lambda file: file.stat().st_mtime_ns)[: -2 * HELD]:
            old.unlink()
        return PairPaths(sample["name"], source, target, sample["group"])


def _open(location: str) -> "StreamingDataset":
    from botocore.exceptions import BotoCoreError, ClientError
    from litdata import StreamingDataset

    try:
        return StreamingDataset(location)
    except (BotoCoreError, ClientError, ImportError, OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"data.stream: the shards {location} cannot be opened ({str(error) or type(error).__name__}): check the "
            "address, that `hdr-lightning shard` wrote them, and the credentials of the storage"
        ) from error


def _remove(folder: Path, owner: int) -> None:
    """Remove temporary files where they were made: not when a worker that was forked ends."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
