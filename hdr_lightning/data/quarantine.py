"""Pairs that are left out by name, because something is wrong with them."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hdr_lightning.data.files import writing
from hdr_lightning.data.manifest import PairPaths, Pairs, lines_of, located, relative_name
from hdr_lightning.data.splits import Split
from hdr_lightning.errors import InputError


def write_quarantine(path: Path, reasons: Mapping[PairPaths, str]) -> None:
    """List pairs to be left out: one JSON object a line, with "src" relative to the file, and "why".

    Args:
        path: the file, JSONL.
        reasons: what is wrong with each pair.

    Raises:
        InputError: if the file cannot be written.
    """
    with writing(path) as temporary:
        rows = [{"src": relative_name(pair.source, path.parent), "why": why} for pair, why in reasons.items()]
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_quarantine(path: Path) -> frozenset[Path]:
    """Read which pairs to leave out.

    Args:
        path: JSONL with "src" a line, relative to the file, and perhaps "why"; `hdr-lightning audit` writes one.

    Returns:
        Their sources, as absolute paths.

    Raises:
        InputError: if there is no such file, or a line is wrong.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such quarantine list; `hdr-lightning audit` writes one")
    sources = [_read_quarantine_line(f"{path}, line {number}", line) for number, line in lines_of(path)]
    return frozenset(located(path.parent / source) for source in sources)


def _read_quarantine_line(where: str, line: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: expected one JSON object a line, got {line[:60]!r} ({error.msg})") from None
    if not isinstance(row, dict) or not row.keys() <= {"src", "why"} or not isinstance(row.get("src"), str):
        raise InputError(f'{where}: expected the keys "src" and perhaps "why", got {line[:80]}')
    return str(row["src"])


def without(parts: Split, quarantine: Collection[Path]) -> Split:
    """Take pairs out of a split, so that the rest stays on its side.

    Args:
        parts: the split.
        quarantine: absolute paths of sources.

    Raises:
        InputError: if nothing is left to train on, or to validate.
    """
    kept, out = [], []
    for part in (parts.train, parts.validation, parts.test):
        listed = _listed(part, quarantine)
        kept.append(Pairs(part.columns, part.rows[~listed]))
        out += list(Pairs(part.columns, part.rows[listed]))
    train, validation, test = kept
    for name, part in (("training", train), ("validation", validation)):
        if not part:
            raise InputError(f"no {name} pair is left: {len(out)} pairs are in quarantine; mend the data or add pairs")
    return Split(train, validation, test, parts.left_out, out)


def _listed(pairs: Pairs, quarantine: Collection[Path]) -> NDArray[np.bool_]:
    """Tell of each pair whether it is in quarantine: by the last part of its path first, of which there are few."""
    sources = pairs.columns.sources.take(pa.array(pairs.rows))
    names = pa.array([path.name for path in quarantine], pa.string())
    alike = pc.is_in(
        pc.replace_substring_regex(sources, r"^.*[/\\]" if os.name == "nt" else "^.*/", ""), value_set=names
    ).to_numpy()
    listed = np.zeros(len(pairs), bool)
    for row in np.flatnonzero(alike).tolist():
        listed[row] = located(pairs[row].source) in quarantine
    return listed
