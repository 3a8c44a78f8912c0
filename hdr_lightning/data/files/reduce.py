"""Photos at the size that training needs."""

import numpy as np
import torch
from jaxtyping import Shaped
from torch.nn import functional as F

Planes = Shaped[np.ndarray, "_ _ _"]
"""Height, width, channels; uint8, uint16, or float32 in [0, 1]."""


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


def reduce(pixels: Planes, shorter_side: int | None) -> Planes:
    """Reduce a photo so that its shorter side has a length in pixels; never enlarge it.

    The filter is the antialiased bicubic one of Pillow, to 2 levels of 255 at 8 bits and to rounding at other depths.
    """
    height, width = pixels.shape[:2]
    return fit(pixels, reduced_size(height, width, shorter_side), (height, width))


def fit(pixels: Planes, size: tuple[int, int], extent: tuple[float, float]) -> Planes:
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
