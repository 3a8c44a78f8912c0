"""A photo in memory, and how it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Shaped, UInt8, UInt16
from numpy.typing import DTypeLike, NDArray

from hdr_lightning.data.files.tone import ToneCurve

Pixels: TypeAlias = UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
"""RGB, sRGB-encoded: 0 to 255, 0 to 65535, or tone-mapped light in [0, 1]."""

Plane: TypeAlias = UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"] | Float32[np.ndarray, "h w"]


@dataclass(frozen=True)
class Photo:
    """A photo as it is seen: upright, RGB, sRGB-encoded.

    Attributes:
        pixels: (height, width, 3), at the depth of the file.
        format: of the file that `write_photo` makes: "JPEG", "PNG", "TIFF", "WEBP" or "EXR".
        exif: the file's EXIF block with the orientation taken out, or empty.
        icc: the file's colour profile if it is one of RGB, or empty; `pixels` are sRGB whatever it says.
        xmp: the file's XMP packet with the orientation taken out, or empty.
        alpha: opacity, in the range of `pixels`; nothing if the photo is opaque. Colours are not multiplied by it.
        curve: between the light that the file holds and `pixels`; nothing for files that hold no light.
        attributes: of an OpenEXR, as its library gives them.
    """

    pixels: Pixels
    format: str
    exif: bytes
    icc: bytes
    xmp: bytes = b""
    alpha: Plane | None = None
    curve: ToneCurve | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)


def turned(pixels: Shaped[np.ndarray, "h w *c"], orientation: int) -> NDArray[np.generic]:
    """Apply an EXIF orientation, 1 to 8; the result may be a view."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def full_scale(dtype: DTypeLike) -> int:
    """The value of white, and of full opacity, in numbers of a type; 1 for floating-point ones."""
    return {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(np.dtype(dtype), 1)
