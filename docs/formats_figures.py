"""Figures on formats in docs/data.md: `python docs/formats_figures.py PHOTO`; of the photo 24 megapixels are made."""

import resource
import sys
import tempfile
import time
from pathlib import Path

import imagecodecs
import numpy as np
import OpenEXR
from PIL import Image

from hdr_lightning.data.files import Photo, read_photo, write_photo
from hdr_lightning.data.files.color_profile import SRGB, from_srgb, to_srgb
from hdr_lightning.data.files.tone import ToneCurve

D65, D50 = [0.3127, 0.329, 1], [0.3457, 0.3585, 1]
PROFILES = {
    "Adobe RGB": imagecodecs.cms_profile("adobergb"),
    "Display P3": imagecodecs.cms_profile(
        "rgb", whitepoint=D65, primaries=[0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], gamma=2.2
    ),
    "ProPhoto RGB": imagecodecs.cms_profile(
        "rgb", whitepoint=D50, primaries=[0.7347, 0.2653, 1, 0.1596, 0.8404, 1, 0.0366, 1e-4, 1], gamma=1.8
    ),
}


def profiles() -> None:
    """Colours of sRGB in a wide profile, read and written; and all colours of that profile, some outside of sRGB."""
    rng = np.random.default_rng(0)
    for name, icc in PROFILES.items():
        for dtype in (np.uint8, np.uint16):
            inside = rng.integers(0, np.iinfo(dtype).max + 1, (512, 512, 3), dtype)
            stored = from_srgb(inside, icc)
            error = np.abs(from_srgb(to_srgb(stored, icc), icc).astype(int) - stored)
            outside = np.abs(from_srgb(to_srgb(inside, icc), icc).astype(int) - inside).max(2) > error.max()
            print(
                f"{name}, {np.dtype(dtype)}: in sRGB mean {error.mean():.2f}, largest {error.max()} levels; "
                f"{outside.mean():.0%} of all its colours move by more"
            )
        floats = (inside / 65535).astype(np.float32)
        exact = imagecodecs.cms_transform(floats, SRGB, icc, colorspace="rgb", outcolorspace="rgb")
        coarse = imagecodecs.cms_transform(inside, SRGB, icc, colorspace="rgb", outcolorspace="rgb")
        for kind, values in (("ours", from_srgb(inside, icc)), ("Little CMS as it comes", coarse)):
            print(f"  {kind} against floating point: {np.abs(values - 65535.0 * exact).max():.0f} of 65535")


def light() -> None:
    """Light over stops, there and back."""
    for stops in (10, 16, 20):
        values = np.exp2(np.random.default_rng(0).uniform(0, stops, (512, 512, 3))).astype(np.float32)
        curve = ToneCurve.of(values, "float32")
        error = np.abs(curve.decode(curve.encode(values)) / values - 1)
        print(f"light over {stops} stops: relative error median {np.median(error):.1e}, largest {error.max():.1e}")


def speed(photo: Path) -> None:
    """Seconds of processor time, and the peak of memory."""
    tile = np.asarray(Image.open(photo).convert("RGB"))
    pixels = np.tile(tile, (-(-4000 // tile.shape[0]), -(-6000 // tile.shape[1]), 1))[:4000, :6000]
    deep = pixels.astype(np.uint16) * 257 + np.random.default_rng(0).integers(-64, 64, pixels.shape).astype(np.uint16)
    icc = PROFILES["Adobe RGB"]
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            "a.jpg": Photo(pixels, "JPEG", b"", b""),
            "icc.jpg": Photo(pixels, "JPEG", b"", icc),
            "deep.png": Photo(deep, "PNG", b"", b""),
            "deep.tif": Photo(deep, "TIFF", b"", b""),
            "icc.tif": Photo(deep, "TIFF", b"", icc),
        }
        for name, case in cases.items():
            _timed(Path(folder) / name, case)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        half = (pixels.astype(np.float32) ** 2 / 100).astype(np.float16)
        OpenEXR.File(header, {"RGB": half}).write(f"{folder}/a.exr")
        _timed(Path(folder) / "b.exr", read_photo(Path(folder) / "a.exr"))
    print(f"peak of all this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def _timed(path: Path, photo: Photo) -> None:
    start = time.process_time()
    write_photo(path, photo)
    written = time.process_time()
    read_photo(path)
    print(f"{path.name}: written in {written - start:.1f} s, read in {time.process_time() - written:.2f} s")


if __name__ == "__main__":
    profiles()
    light()
    speed(Path(sys.argv[1]))
