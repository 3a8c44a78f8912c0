"""The built-in demo set: rendered rooms with windows, as a camera takes them and as a professional edits them."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

IN_PROCESS = 16
"""Up to so many rooms are rendered before a second process would have started."""


def write_demo_set(output: Path, number: int = 64, size: tuple[int, int] = (256, 384), seed: int = 0) -> Path:
    """Render pairs of photos of rooms, to train on without any data of your own.

    Writes `source/`, `target/`, the manifest `pairs.jsonl` and `SHA256SUMS`. The same seed gives the same rooms,
    whatever the number. A folder that holds the same set already is left as it is.

    Args:
        output: a folder that does not exist yet.
        number: how many pairs; every pair is another room.
        size: height and width in pixels.
        seed: which rooms.

    Returns:
        The manifest.

    Raises:
        InputError: if the folder holds something else or cannot be written, or a number is out of range.
    """
    from hdr_lightning.data.files import writing_folder  # here, as the processes that render do without PyTorch

    if number < 1 or min(size) < 16:
        raise InputError(f"expected at least 1 pair of at least 16 x 16 pixels, got {number} of {size[0]} x {size[1]}")
    settings = {"number": number, "size": list(size), "seed": seed, "version": 1}
    manifest, record = output / "pairs.jsonl", output / "rooms.json"
    if output.exists():
        if record.is_file() and json.loads(record.read_text()) == settings:
            print(f"{manifest}: these {number} pairs are there already")
            return manifest
        raise InputError(f"{output} exists and holds something else: choose another --output, or remove it")

    with writing_folder(output) as part:
        for folder in ("source", "target"):
            (part / folder).mkdir(parents=True)
        _render_all(part, number, size, seed)
        rows = [
            {"src": f"source/{n:05d}.png", "tar": f"target/{n:05d}.png", "group": f"room {n}"} for n in range(number)
        ]
        (part / manifest.name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (part / record.name).write_text(json.dumps(settings) + "\n", encoding="utf-8")
        _fingerprint(part)
    print(f"{manifest}: {number} pairs of {size[0]} x {size[1]}")
    return manifest


def _fingerprint(folder: Path) -> None:
    from hdr_lightning.data.contents import SUMS, write_sums

    write_sums(sorted(path.resolve() for path in folder.glob("*/*.png")), folder / SUMS)


def _render_all(folder: Path, number: int, size: tuple[int, int], seed: int) -> None:
    jobs = [(folder, size, seed, n) for n in range(number)]
    if number <= IN_PROCESS:
        for job in track(jobs, "rendering rooms", number, "pair"):
            _render_pair(job)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        for _ in track(pool.map(_render_pair, jobs, chunksize=4), "rendering rooms", number, "pair"):
            pass


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _render_pair(job: tuple[Path, tuple[int, int], int, int]) -> None:
    import numpy as np
    from PIL import Image

    from hdr_lightning.data.rooms.develop import edit, photograph
    from hdr_lightning.data.rooms.furnish import Furnisher
    from hdr_lightning.data.rooms.render import render

    folder, (height, width), seed, number = job
    rng = np.random.default_rng([seed, number])
    rendering = render(Furnisher(rng).furnish(), height, width)
    for name, pixels in (("source", photograph(rendering, rng)), ("target", edit(rendering))):
        Image.fromarray(pixels).save(folder / name / f"{number:05d}.png", compress_level=4)
