"""JPEG by libjpeg-turbo, which says where data is missing; Pillow fills the hole with grey and says nothing."""

import mmap

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL.ImageFile import ImageFile

from hdr_lightning.errors import InputError

HOLES = ("remature end", "bad Huffman code", "instead of RST")
"""Of what libjpeg warns of: pixels are missing. Other flaws, such as bytes too many, leave them whole."""


def decode_jpeg(image: ImageFile) -> UInt8[np.ndarray, "h w *c"] | None:
    """Decode a JPEG that Pillow has opened: the same pixels as Pillow's, in less time.

    Args:
        image: opened, so that its header was checked; pixels not loaded.

    Returns:
        (height, width) of grey or (height, width, 3) of RGB; nothing for other files, or where a flaw that leaves the
        pixels whole is left to Pillow to judge.

    Raises:
        InputError: if a part of the picture is missing.
    """
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    assert image.fp is not None
    try:
        with mmap.mmap(image.fp.fileno(), 0, access=mmap.ACCESS_READ) as data:
            pixels = simplejpeg.decode_jpeg(data, "RGB" if image.mode == "RGB" else "GRAY")
    except ValueError as error:
        if any(hole in str(error) for hole in HOLES):
            raise InputError(
                f"a part of the picture is missing or damaged ({error}): replace the file or leave it out"
            ) from None
        return None
    return pixels if image.mode == "RGB" else pixels[..., 0]
