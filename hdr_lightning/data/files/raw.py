"""RAW files of cameras, developed by LibRaw. Needs the extra `raw`."""

import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, TiffImagePlugin

from hdr_lightning.data.files.header import DAMAGE, Header, check_size
from hdr_lightning.data.files.metadata import exif_without_storage
from hdr_lightning.data.files.photo import Photo
from hdr_lightning.errors import InputError

if TYPE_CHECKING:
    import rawpy

QUARTER_TURNS = (5, 6)
"""LibRaw's `flip` values that exchange height and width."""


def raw_header(path: Path) -> Header:
    """What a RAW file says of itself.

    Raises:
        InputError: if the extra `raw` is missing, the file is no RAW or has too many pixels.
    """
    with _opened(path) as raw:
        sizes = raw.sizes
        height, width = (sizes.width, sizes.height) if sizes.flip in QUARTER_TURNS else (sizes.height, sizes.width)
        return Header(height, width, "RAW", "RGB", 16, False, "", {3: 3, 5: 8, 6: 6}.get(sizes.flip, 1))


def read_raw(path: Path) -> Photo:
    """Develop a RAW file: the camera's white balance, sRGB, 16 bits, upright, brightness as it was exposed.

    Raises:
        InputError: if the extra `raw` is missing, the file is no RAW, is damaged or has too many pixels.
    """
    raw_header(path)
    script = Path(__file__).with_name("develop.py")
    done = subprocess.run([sys.executable, script, path], capture_output=True, check=False)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        reason = told or f"LibRaw ended with {done.returncode}"
        raise InputError(f"{path}: the RAW file cannot be developed ({reason}): replace the file or leave it out")
    height, width = struct.unpack("=2I", done.stdout[:8])
    pixels = np.frombuffer(done.stdout, np.uint16, offset=8).reshape(height, width, 3)
    return Photo(pixels, "TIFF", _exif(path), b"")


@contextmanager
def _opened(path: Path) -> Iterator["rawpy.RawPy"]:
    try:
        import rawpy
    except ImportError:
        raise InputError(
            f"{path}: RAW files need the extra `raw`: pip install 'hdr-lightning[raw]', or uv run --extra raw"
        ) from None
    try:
        with rawpy.imread(os.fspath(path)) as raw:
            check_size(raw.sizes.raw_width, raw.sizes.raw_height)
            yield raw
    except rawpy.LibRawError as error:
        raise InputError(f"{path}: the RAW file cannot be read ({error}): replace the file or leave it out") from None


def _exif(path: Path) -> bytes:
    """The EXIF block of a RAW that is built like a TIFF, as most are; others go without."""
    with path.open("rb") as file:
        if file.read(4) not in TiffImagePlugin.PREFIXES:
            return b""
        file.seek(0)
        tags = Image.Exif()
        try:
            tags.load_from_fp(file)
            return exif_without_storage(tags)
        except DAMAGE as error:
            warnings.warn(f"{path}: the EXIF block cannot be read ({error}) and is left out", stacklevel=2)
            return b""
