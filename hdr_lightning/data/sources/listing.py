"""A source of pairs as a manifest."""

import json
from pathlib import Path

from hdr_lightning.data.files import writing
from hdr_lightning.data.manifest import relative_name
from hdr_lightning.data.sources.base import PairSource
from hdr_lightning.errors import InputError


def write_manifest(pairs: PairSource, output: Path | None = None) -> Path:
    """List the pairs of a data set in a JSONL manifest, to look at them, to choose among them, or to fingerprint them.

    Args:
        pairs: the data set, such as LOLv1.
        output: the manifest; `pairs.jsonl` in the data set's folder if nothing is given.

    Returns:
        The manifest.

    Raises:
        InputError: if the layout is another one, or the manifest is there already or cannot be written.
    """
    pairs.prepare()
    path = pairs.manifest if output is None else output
    rows = [
        {"src": relative_name(pair.source, path.parent), "tar": relative_name(pair.target, path.parent)}
        | ({"group": pair.group} if pair.group != str(pair.source) else {})
        for pair in pairs.pairs()
    ]
    if path.exists():
        raise InputError(f"{path} is there already: choose another --output, or remove it")
    with writing(path) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} pairs; `hdr-lightning fingerprint {path}` records their content")
    return path
