"""Read files damaged at random: `python fuzz.py SEED ROUNDS FILE...`. Run apart, for a native library may crash."""

import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from hdr_lightning.data.files import photo_header, read_photo
from hdr_lightning.errors import InputError


def damaged(content, rng):
    """Cut off, bytes changed (mostly in the header), a stretch taken out, doubled or zeroed, or sizes made huge."""
    data = bytearray(content)
    kind = rng.integers(6)
    start, stop = sorted(int(n) for n in rng.integers(0, len(data), 2))
    if kind == 0:
        return bytes(data[:stop])
    if kind == 1:
        del data[start : min(stop, start + 50)]
    elif kind == 2:
        data[start:start] = data[start : min(stop, start + 50)]
    elif kind == 3:
        data[start : start + 20] = bytes(min(20, len(data) - start))
    elif kind == 4:
        data[start : start + 4] = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"][rng.integers(3)]
    else:
        for _ in range(rng.integers(1, 9)):
            reach = len(data) if rng.random() < 0.4 else min(len(data), 600)
            data[rng.integers(reach)] = rng.integers(256)
    return bytes(data)


def main(seed, rounds, *files):
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(int(seed))
    outcomes = Counter()
    for file in map(Path, files):
        content = file.read_bytes()
        broken = file.with_name(f"broken{file.suffix}")
        for n in range(int(rounds)):
            broken.write_bytes(damaged(content, rng))
            print(f"{file.name} {n}", file=sys.stderr, flush=True)
            for read in (photo_header, read_photo):
                try:
                    read(broken)
                    outcomes[file.name, read.__name__, "read"] += 1
                except InputError:
                    outcomes[file.name, read.__name__, "refused"] += 1
    print("\n".join(f"{' '.join(case)}: {count}" for case, count in sorted(outcomes.items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
