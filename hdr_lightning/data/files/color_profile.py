"""Colours between the ICC profile of a file and sRGB, at the depth of the file."""

import io

import imagecodecs
import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray
from PIL import ImageCms

from hdr_lightning.data.files.header import profile_description
from hdr_lightning.errors import InputError

SRGB: bytes = imagecodecs.cms_profile("srgb")

EXACT = 0x0100
"""cmsFLAGS_NOOPTIMIZE: but for RGB at 8 bits, Little CMS would otherwise go through a coarse table: at 16 bits it is
thousands of levels off."""


def profile_space(icc: bytes) -> str:
    """What an ICC profile describes: "RGB", "GRAY", "CMYK"; empty for no profile.

    Raises:
        OSError: if it is none.
    """
    return ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space.strip() if icc else ""


def to_srgb(pixels: Shaped[np.ndarray, "h w *c"], icc: bytes) -> Shaped[np.ndarray, "h w 3"]:
    """Turn grey, RGB or CMYK values into sRGB ones, without loss where they are sRGB already.

    Args:
        pixels: (height, width), (height, width, 3) or (height, width, 4), uint8 or uint16.
        icc: their profile; without one grey and RGB are those of sRGB. A profile of RGB does for grey.

    Raises:
        InputError: if the profile is for other colours than the pixels hold, or CMYK has none.
    """
    space = profile_space(icc)
    held = "GRAY" if pixels.ndim == 2 else {3: "RGB", 4: "CMYK"}[pixels.shape[2]]
    if held == "GRAY" and space != "GRAY":
        pixels, held = np.repeat(pixels[..., None], 3, axis=2), "RGB"
    if not space and held == "RGB":
        return pixels
    if space != held:
        raise InputError(f"expected a colour profile for {held}, got one for {space or 'nothing'}: convert it to sRGB")
    if "sRGB" in profile_description(icc) and held == "RGB":
        return pixels
    return _transform(pixels, icc, SRGB, held.lower(), "rgb")


def from_srgb(pixels: Shaped[np.ndarray, "h w 3"], icc: bytes) -> Shaped[np.ndarray, "h w 3"]:
    """Turn sRGB values into those of a profile for RGB; none, and that of sRGB, change nothing."""
    if not icc or "sRGB" in profile_description(icc):
        return pixels
    return _transform(pixels, SRGB, icc, "rgb", "rgb")


def _transform(pixels: NDArray[np.generic], icc: bytes, other: bytes, space: str, to: str) -> NDArray[np.generic]:
    return imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        icc,
        other,
        colorspace=space,
        outcolorspace=to,
        intent=0,  # perceptual
        flags=0 if pixels.dtype == np.uint8 and space == to else EXACT,
    )
