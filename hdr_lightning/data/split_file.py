"""A split that is written once and kept: which pair serves what, and what the test photos were."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hdr_lightning.data.contents import Record
from hdr_lightning.data.files import content_hash, writing
from hdr_lightning.data.manifest import Pairs, photos_of, read_pairs, relative_name
from hdr_lightning.data.splits import Fold, HeldOut, Split, named, split_pairs
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track


def write_split(
    pairs: Sequence[Path],
    output: Path | None = None,
    test: HeldOut = 5,
    validation: float = 0.1,
    folds: int = 0,
    seed: int = 0,
) -> Path:
    """Split a data set once and for all, into a file to keep beside the manifest.

    Args:
        pairs: a manifest, or a folder of sources and a folder of targets.
        output: the file; `NAME.split.json` beside the manifest if not given. One that is there is never replaced.
        test: the first k pairs, a share of them, or the names of their sources. Whole groups are held out by a share.
        validation: share of the remaining pairs that validate.
        folds: divide the remaining pairs into so many parts instead, each of which validates in its turn; 0 for none.
        seed: chooses which.

    Returns:
        The file written.

    Raises:
        InputError: if the pairs cannot be split, a test photo is missing, or the file is there.
    """
    origin = pairs[0] if len(pairs) == 1 else tuple(pairs)
    if isinstance(test, Path):
        raise InputError(f"{test}: a manifest of its own is a split already; give it as data.test")
    first = pairs[0]
    path = output or first.with_name(f"{first.stem}.split.json")
    if path.exists():
        raise InputError(f"{path} is there already, and a split is written once: give another --output, or delete it")
    table = read_pairs(origin)
    if folds:
        splits = [split_pairs(table, test, Fold(number, folds), seed) for number in range(folds)]
        content: dict[str, Any] = {"folds": [_names(each.validation) for each in splits]}
    else:
        splits = [split_pairs(table, test, validation, seed)]
        content = {"train": _names(splits[0].train), "validation": _names(splits[0].validation)}
    held_out = splits[0].test
    photos = sorted({photo.absolute() for photo in photos_of(held_out)})
    missing = [photo for photo in photos if not photo.is_file()]
    if missing:
        raise InputError(f"{missing[0]} of the test set: there is no such file, so its content cannot be recorded")
    hashes = {
        relative_name(photo, path.parent): content_hash(photo)
        for photo in track(photos, "recording the test photos", len(photos))
    }
    content = {"test": _names(held_out)} | content | {"sha256": hashes}
    with writing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _say(path, splits)
    return path


def _names(pairs: Pairs) -> list[str]:
    names: list[str] = pairs.names.to_pylist()
    return names


def _say(path: Path, splits: Sequence[Split]) -> None:
    parts = {"test": splits[0].test}
    if len(splits) == 1:
        parts |= {"train": splits[0].train, "validation": splits[0].validation}
    else:
        parts |= {f"fold {number}": split.validation for number, split in enumerate(splits)}
    for name, pairs in {**parts, "left out": splits[0].left_out}.items():
        print(f"{name:<12} {len(pairs):>8} pairs {len(np.unique(pairs.groups)):>8} groups")
    print(f"{path}: keep it beside the manifest; `--data.split={path}` uses it")


def read_split(path: Path, pairs: Pairs, fold: int) -> Split:
    """Split pairs as a file says.

    Args:
        path: what `hdr-lightning split` wrote.
        pairs: of the data set; those that the file does not name serve nobody.
        fold: which part validates, if the file holds folds.

    Raises:
        InputError: if it is no such file, names pairs that are not there, names one twice, or divides a group.
    """
    content = _load(path)
    if "folds" in content:
        folds = content["folds"]
        if not 0 <= fold < len(folds):
            raise InputError(f"{path} holds {len(folds)} folds: set data.fold to 0 ... {len(folds) - 1}, got {fold}")
        others = [name for number, part in enumerate(folds) if number != fold for name in part]
        listed = [content["test"], others, folds[fold]]
    else:
        listed = [content["test"], content["train"], content["validation"]]
    repeated = [name for name, count in Counter(name for part in listed for name in part).items() if count > 1]
    if repeated:
        raise InputError(f"{path} names {repeated[0]} more than once: a pair serves one part")
    test, train, validation = (named(pairs, part, str(path)) for part in listed)
    for one, other, where in (
        (test, train, "test and train"),
        (test, validation, "test and validation"),
        (train, validation, "train and validation"),
    ):
        shared = np.flatnonzero(np.isin(one.groups, other.groups))
        if len(shared):
            raise InputError(f"{path} divides the group {one[int(shared[0])].group!r} between {where}: keep it in one")
    used = np.concatenate([part.rows for part in (test, train, validation)])
    return Split(
        Pairs(pairs.columns, np.sort(train.rows)),
        Pairs(pairs.columns, np.sort(validation.rows)),
        test,
        Pairs(pairs.columns, np.setdiff1d(pairs.rows, used)),
    )


def count_folds(path: Path) -> int:
    """How many folds a file holds; 0 if it holds one split.

    Raises:
        InputError: if it is no file of a split.
    """
    return len(_load(path).get("folds", []))


def read_record(path: Path) -> Record:
    """What the test photos were when the split was written.

    Raises:
        InputError: if it is no file of a split.
    """
    hashes = {(path.parent / photo).resolve(): digest for photo, digest in _load(path)["sha256"].items()}
    return Record(path, hashes, "write another split with `hdr-lightning split`", ages=False)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; `hdr-lightning split` writes one") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a split as `hdr-lightning split` writes it ({error})") from None
    keys = set(content) if isinstance(content, dict) else set()
    if keys not in ({"test", "train", "validation", "sha256"}, {"test", "folds", "sha256"}):
        raise InputError(
            f"{path}: expected a split with test, train, validation (or folds) and sha256, got {sorted(keys)}"
        )
    parts = content["folds"] if "folds" in content else [content["train"], content["validation"]]
    lists = isinstance(parts, list) and len(parts) > 1 and all(map(_names_pairs, [content["test"], *parts]))
    if not lists or not all(parts) or not isinstance(content["sha256"], dict):
        raise InputError(f"{path}: expected lists of names as parts, none but the test empty, and hashes by photo")
    return content


def _names_pairs(part: object) -> bool:
    return isinstance(part, list) and all(isinstance(name, str) for name in part)
