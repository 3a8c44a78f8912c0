"""Draw docs/augment.jpg: python docs/augment_figure.py (renders three rooms of the demo set first)."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
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


if __name__ == "__main__":
    main()
