"""Photos decoded and reduced to the size that training needs, at the least cost.

A JPEG stores 8 x 8 pixels as frequencies: decoding only the low ones gives the photo at 1/2, 1/4 or 1/8 of its size
without ever making the rest. What is left to the exact size is done with an antialiased bicubic filter.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from jaxtyping import Shaped, UInt8
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile
from torch.nn import functional as F

Pixels = Shaped[np.ndarray, "_ _ 3"]
"""Height, width, RGB; uint8, uint16, or float32 in [0, 1]."""

Reader = Callable[[Path], NDArray[Any]]
"""From a photo's file to its pixels: upright, RGB, sRGB-encoded."""

SCALES = (8, 4, 2)


def reduced_size(height: int, width: int, shorter_side: int | None) -> tuple[int, int]:
    """Height and width of a photo whose shorter side is reduced to a length; a smaller photo keeps its size.

    >>> reduced_size(3000, 4000, 512), reduced_size(300, 200, 512)
    ((512, 683), (300, 200))
    """
    shorter = min(height, width)
    if shorter_side is None or shorter <= shorter_side:
        return height, width
    height, width = ((2 * side * shorter_side + shorter) // (2 * shorter) for side in (height, width))
    return height, width


def decode_jpeg(image: ImageFile, shorter_side: int | None = None) -> UInt8[np.ndarray, "_ _ 3"] | None:
    """Decode a JPEG that Pillow has opened, and reduce it as `reduce` does.

    It is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 that is large enough, by libjpeg-turbo through simplejpeg: at
    every scale the same pixels as Pillow's, in a third of the time. The result depends on the size of the photo and not
    on how decoding rounds it: a target in PNG fits its source in JPEG.

    Args:
        image: opened, so that its header was checked; pixels not loaded.
        shorter_side: length in pixels that a longer shorter side is reduced to, or nothing for the whole photo.

    Returns:
        Pixels as they lie in the file, orientation and colour profile not applied; nothing where the file is no JPEG in
        RGB or grey, or has a flaw, which Pillow is left to judge.
    """
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    height, width = image.height, image.width
    scale = jpeg_scale(height, width, shorter_side)
    assert image.fp is not None
    image.fp.seek(0)
    data = image.fp.read()
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=-(-height // scale), min_width=-(-width // scale)
        )
    except ValueError:
        return None
    # Of 3001 pixels decoding at 1/4 makes 751, of which the last is mostly beyond the edge.
    return _filter(pixels, reduced_size(height, width, shorter_side), (height / scale, width / scale))


def jpeg_scale(height: int, width: int, shorter_side: int | None) -> int:
    """The largest of 1, 2, 4, 8 by which a JPEG may be reduced in decoding."""
    if shorter_side is None:
        return 1
    return next((scale for scale in SCALES if min(height, width) >= scale * shorter_side), 1)


def reduce(pixels: Pixels, shorter_side: int | None) -> Pixels:
    """Reduce a photo so that its shorter side has a length in pixels; never enlarge it.

    The filter is the antialiased bicubic one of Pillow, to 2 levels of 255 at 8 bits and to rounding at other depths.
    """
    height, width = pixels.shape[:2]
    return _filter(pixels, reduced_size(height, width, shorter_side), (height, width))


def _filter(pixels: Pixels, size: tuple[int, int], extent: tuple[float, float]) -> Pixels:
    """Reduce to a size what lies within an extent from the upper left corner, both as (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    ratio = [out / inside * (1 + 1e-9) for out, inside in zip(size, extent, strict=True)]
    exact = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
    batch = torch.from_numpy(np.require(exact, requirements=["C", "W"])).permute(2, 0, 1)[None]
    reduced = F.interpolate(batch, scale_factor=ratio, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
    assert reduced.shape[:2] == size
    if pixels.dtype == np.uint16:
        reduced = reduced.clip(0, 65535).round().astype(np.uint16)
    elif pixels.dtype == np.float32:
        reduced = reduced.clip(0, 1)
    return np.ascontiguousarray(reduced)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn a photo upright, as a view of the same memory.

    Args:
        pixels: as they lie in the file.
        orientation: of EXIF, 1 to 8.
    """
    if orientation in (5, 7):
        pixels = pixels.transpose(1, 0, 2)
    turns = {3: 2, 4: 2, 6: 3, 7: 2, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, turns)[:, :: -1 if orientation in (2, 4) else 1]
