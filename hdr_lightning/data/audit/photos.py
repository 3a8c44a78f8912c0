"""What one photo says about itself: size, content, statistics and header, each measured once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.files import full_scale, photo_header, read_photo

SIDE = 640
"""Longer side, in pixels, of the reduced pictures that are compared: beyond it the comparisons gain nothing."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)

BRIGHT, DARK = 250, 5
"""Values, of 255, from which on a channel counts as clipped."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PhotoFacts:
    """Facts of a photo.

    Attributes:
        width, height: in pixels, upright.
        digest: SHA-256 of the decoded pixels and their shape: equal for equal pictures, whatever the file format.
        brightness: mean luminance (Rec. 709, sRGB-encoded), 0 to 1.
        contrast: its standard deviation.
        saturation: mean of (largest - smallest channel), 0 to 1.
        bright: share of pixels with a channel at the upper end.
        dark: share of pixels with all channels at the lower end.
        spread: largest less smallest value of the reduced picture, 0 to 1, of the channel where it is largest.
        mode: kind of pixels, such as "RGB" or "L of 16 bits".
        profile: name of the embedded colour profile, or empty.
        orientation: of the EXIF block, 1 (upright) to 8.
    """

    width: int
    height: int
    digest: str
    brightness: float
    contrast: float
    saturation: float
    bright: float
    dark: float
    spread: float
    mode: str
    profile: str
    orientation: int


def examine(path: Path) -> tuple[PhotoFacts, Pixels]:
    """Decode a photo once and measure it.

    Returns:
        Its facts, and the picture reduced to `SIDE`, (height, width, 3), 0 to 255.

    Raises:
        InputError: if the photo cannot be read.
    """
    pixels = read_photo(path).pixels
    digest = hashlib.sha256(repr((pixels.shape, pixels.dtype.str)).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    height, width = pixels.shape[:2]
    small = reduced(pixels)
    header = photo_header(path)
    mode = header.channels if header.bits == 8 else f"{header.channels} of {header.bits} bits"
    facts = *_statistics(small), mode, header.profile, header.orientation
    return PhotoFacts(width, height, digest.hexdigest(), *facts), small


def reduced(pixels: NDArray[np.integer], side: int = SIDE) -> Pixels:
    """Reduce a picture by the mean over areas, to 8 bits; one that is small already keeps its size.

    Args:
        pixels: (height, width, 3).
        side: longer side of the result, in pixels, at most.
    """
    factor = side / max(pixels.shape[:2])
    if factor < 1:
        height, width = (max(round(length * factor), 1) for length in pixels.shape[:2])
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
    return np.round(pixels * np.float32(255 / full_scale(pixels.dtype))).astype(np.uint8)


def _statistics(small: Pixels) -> tuple[float, float, float, float, float, float]:
    luminance = small @ LUMINANCE / 255
    high, low = small.max(axis=2), small.min(axis=2)
    values = (
        luminance.mean(),
        luminance.std(),
        (high.astype(np.float32) - low).mean() / 255,
        (high >= BRIGHT).mean(),
        (high <= DARK).mean(),
        np.ptp(small.astype(np.int16), axis=(0, 1)).max() / 255,
    )
    brightness, contrast, saturation, bright, dark, spread = (round(float(value), 5) for value in values)
    return brightness, contrast, saturation, bright, dark, spread
