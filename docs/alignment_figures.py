"""How well exposures of a rendered room are aligned, beside what OpenCV offers: prints a table for docs/data.md.

python docs/alignment_figures.py
"""

import time

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hdr_lightning.data.rooms.furnish import Furnisher
from hdr_lightning.data.rooms.render import render
from hdr_lightning.data.sources.fusion import align
from hdr_lightning.errors import InputError
from hdr_lightning.image.color import encode_srgb

Photo = NDArray[np.uint8]
Shift = tuple[int, int]

HEIGHT, WIDTH, MARGIN, ROOMS = 256, 384, 24, 20


def bracket(seed: int, stops: int) -> tuple[list[Photo], Shift]:
    """A middle exposure and another of a hand that moved: the two photos, and the shift of the second."""
    rng = np.random.default_rng([99, seed])
    light = render(Furnisher(rng).furnish(), HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN).radiance
    light = light * np.float32(0.18 / np.exp(np.log(light.mean(axis=-1) + 1e-5).mean()))
    x, y = (int(each) for each in rng.integers(-MARGIN, MARGIN + 1, 2))
    photos = []
    for gain, (dx, dy) in ((0, (0, 0)), (stops, (x, y))):
        seen = light[MARGIN - dy :, MARGIN - dx :][:HEIGHT, :WIDTH] * np.float32(2.0**gain)
        noise = rng.standard_normal(seen.shape, dtype=np.float32) * np.sqrt(seen * np.float32(4e-5) + np.float32(4e-8))
        photos.append((encode_srgb(torch.from_numpy(np.clip(seen + noise, 0, 1))).numpy() * 255 + 0.5).astype(np.uint8))
    return photos, (x, y)


def ours(first: Photo, second: Photo) -> Shift | None:
    """What brackets are aligned with."""
    try:
        return align([first, second], reference=0)[1][1]
    except InputError:
        return None


def mtb(first: Photo, second: Photo) -> Shift:
    """Median threshold bitmaps (Ward, 2003)."""
    grey = (cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) for photo in (first, second))
    x, y = cv2.createAlignMTB(6, 4, False).calculateShift(*grey)
    return -x, -y


def ecc(first: Photo, second: Photo) -> Shift | None:
    """Enhanced correlation coefficient (Evangelidis and Psarakis, 2008), a translation."""
    grey = (cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) for photo in (first, second))
    try:
        _, warp = cv2.findTransformECC(*grey, np.eye(2, 3, dtype=np.float32), cv2.MOTION_TRANSLATION)
    except cv2.error:
        return None
    return round(float(warp[0, 2])), round(float(warp[1, 2]))


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print("| exposure | method | exact | wrong | refused | ms |\n|---|---|---|---|---|---|")
    for stops in (-4, -2, 2, 4):
        pairs = [bracket(seed, stops) for seed in range(ROOMS)]
        for name, method in (("ours", ours), ("OpenCV AlignMTB", mtb), ("OpenCV ECC", ecc)):
            start = time.process_time()
            found = [method(*photos) for photos, _ in pairs]
            spent = (time.process_time() - start) / ROOMS * 1000
            exact = sum(shift == true for shift, (_, true) in zip(found, pairs, strict=True))
            refused = found.count(None)
            print(f"| {stops:+d} stops | {name} | {exact} | {ROOMS - exact - refused} | {refused} | {spent:.1f} |")


if __name__ == "__main__":
    main()
