"""What a large photo takes of time and memory, as a whole, in strips and in tiles."""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.errors import InputError
from hdr_lightning.exports.reading import load_model
from hdr_lightning.inference.large import edit_large
from hdr_lightning.inference.need import need
from hdr_lightning.inference.settings import Editing, Method
from hdr_lightning.progress import duration, track

HEADER = "| checkpoint | photo | method | wall | CPU | peak memory | of it the pass | seam |"


def benchmark_sizes(
    checkpoint: Path,
    photo: Path,
    methods: Sequence[Method] = ("whole", "strips", "tiles"),
    tile: int | None = None,
    overlap: int = 64,
    memory: float | None = None,
    modules: Sequence[str] = (),
) -> str:
    """Pass a photo through a network on the CPU by each method, in a process each, and print what that took.

    Time is that of the network, without reading and writing. Peak memory is the largest resident set of the process
    (`ru_maxrss`), with PyTorch, weights and photo in it; the next column is what the pass added.
    Where a method does not fit the memory, the row says what it would need.

    Args:
        checkpoint: what `enhance` takes.
        photo: a photo.
        methods: whole, strips, tiles; auto.
        tile: side of the tiles in pixels; the largest that fits, up to 1024, if nothing is given.
        overlap: pixels that tiles share.
        memory: gigabytes to work in; what is free if nothing is given.
        modules: Python modules to import first, for generators of your own.

    Returns:
        The table, in Markdown.

    Raises:
        InputError: if checkpoint or photo cannot be read.
    """
    rows = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    for method in track(methods, "passing", len(methods), "method"):
        words = [str(each) for each in (checkpoint, photo, method, tile, overlap, memory, *modules)]
        done = subprocess.run([sys.executable, "-m", __name__, *words], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise InputError(f"{checkpoint}: {photo} did not pass it ({method}): the lines above say why")
        rows.append(done.stdout.splitlines()[-1])
    table = "\n".join(rows)
    print(table)
    return table


def _number(word: str) -> float | None:
    return None if word == "None" else float(word)


def _case(checkpoint: str, photo: str, method: Method, tile: str, overlap: str, memory: str, *modules: str) -> str:
    """A row of the table, measured in this process."""
    device = torch.device("cpu")
    generator = load_model(Path(checkpoint), modules).eval()
    image = to_tensor(read_photo(Path(photo)).pixels)[None]
    height, width = image.shape[-2:]
    side = _number(tile)
    editing = Editing(method, memory=_number(memory), tile=None if side is None else int(side), overlap=int(overlap))
    row = f"| {Path(checkpoint).stem} | {width} x {height} |"
    if generator.countable and next(generator.parameters(), None) is not None:
        for kind in ("whole", "strips") if generator.blocks else ("whole",):
            need(generator, kind, device)  # counted beforehand
    before, wall, cpu = psutil.Process().memory_info().rss, time.monotonic(), time.process_time()
    try:
        passed = edit_large(generator, image, device, editing)
    except InputError as error:
        return f"{row} {method} | {error} |"
    wall, cpu, peak = time.monotonic() - wall, time.process_time() - cpu, _peak()
    how = f"tiles of {passed.tile}" if passed.tile else passed.method
    seam = f"{passed.seam:.2f}" if passed.tile else ""
    took = f"{duration(wall)} | {duration(cpu)} | {peak / 1e9:.2f} GB | {(peak - before) / 1e9:.2f} GB"
    return f"{row} {how} | {took} | {seam} |"


def _peak() -> int:
    """Bytes of the largest resident set so far; macOS counts bytes, Linux kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(_case(*sys.argv[1:]))  # type: ignore[arg-type]
