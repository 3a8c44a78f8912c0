"""Draw docs/augment.jpg from three rooms of the demo set, and time the jitter: python docs/augment_figure.py."""

import tempfile
import timeit
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from hdr_lightning.data.augment import CropFlip, Jitter, Mix
from hdr_lightning.data.files import to_pixels
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.pairs import Draw, PairDataset
from hdr_lightning.data.rooms import write_demo_set

SIDE, GAP, LINE = 128, 6, 14
PLAIN = CropFlip(crop=176, flip=0.0)
SEED, EPOCH = 3, 216

COLUMNS: dict[str, tuple[CropFlip, Jitter, Mix]] = {
    "crop": (PLAIN, Jitter(), Mix()),
    "flip": (replace(PLAIN, flip=1.0), Jitter(), Mix()),
    "flip_vertical": (replace(PLAIN, flip_vertical=1.0), Jitter(), Mix()),
    "turns": (replace(PLAIN, turns=1.0), Jitter(), Mix()),
    "exposure": (PLAIN, Jitter(exposure=1.5), Mix()),
    "white_balance": (PLAIN, Jitter(white_balance=0.8), Mix()),
    "mixup": (PLAIN, Jitter(), Mix(mixup=1.0)),
    "cutmix": (PLAIN, Jitter(), Mix(cutmix=1.0)),
}


def main() -> None:
    """Source above, target below, one change a column; all of one draw."""
    sheet = Image.new("RGB", (len(COLUMNS) * (SIDE + GAP) - GAP, 2 * SIDE + GAP + LINE), "white")
    pen = ImageDraw.Draw(sheet)
    with tempfile.TemporaryDirectory() as folder:
        pairs = read_pairs(write_demo_set(Path(folder) / "rooms", number=3, size=(192, 288), seed=4))
        for column, (name, changes) in enumerate(COLUMNS.items()):
            augment, jitter, mix = changes
            pair = PairDataset(pairs, augment, SEED, jitter, mix)[Draw(epoch=EPOCH, photo=0)]
            left = column * (SIDE + GAP)
            pen.text((left + 2, 1), name, fill="black")
            for row, picture in enumerate((pair.source, pair.target)):
                square = Image.fromarray(np.asarray(to_pixels(picture))).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                sheet.paste(square, (left, LINE + row * (SIDE + GAP)))
    sheet.save(Path(__file__).parent / "augment.jpg", quality=88)


def time_jitter() -> None:
    """Milliseconds of the jitter of a crop, on one thread: integers go through a table, float32 is computed."""
    torch.set_num_threads(1)
    rng, jitter = np.random.default_rng(0), Jitter(exposure=0.5, white_balance=0.2)
    for side in (256, 512):
        for dtype in (np.uint8, np.uint16, np.float32):
            crop = (rng.random((side, side, 3)) * (1 if dtype is np.float32 else np.iinfo(dtype).max)).astype(dtype)
            best = min(timeit.repeat(lambda crop=crop: jitter(crop, rng), number=5, repeat=7)) / 5
            print(f"{side} px, {dtype.__name__}: {best * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
    time_jitter()
