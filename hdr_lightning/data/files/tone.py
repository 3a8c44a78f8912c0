"""Between radiance, which has no upper bound, and the [0, 1] of a picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

KEY = 0.18
"""Where the log-average of the luminance goes: middle grey."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709

ROWS = 64
"""At a time, so that intermediate results stay small."""


@dataclass(frozen=True)
class ToneCurve:
    r"""Reinhard's extended curve on each channel of linear light, then the curve of sRGB; both can be inverted.

    With x = scale * light: t = x (1 + x / white²) / (1 + x), which takes [0, white] to [0, 1].
    Reinhard et al., Photographic tone reproduction for digital images, SIGGRAPH 2002, equation 4.

    Attributes:
        scale: takes the log-average of the photo's luminance to middle grey, 0.18.
        white: the brightest value of the photo, scaled.
        stored: type of the file's numbers, to write them back as.
    """

    scale: float
    white: float
    stored: Literal["float16", "float32"]

    @classmethod
    def of(cls, light: Float32[np.ndarray, "h w 3"], stored: Literal["float16", "float32"]) -> "ToneCurve":
        """The curve for a photo; black pixels, such as a frame, do not count for the average.

        Args:
            light: linear, not negative.
            stored: type of the file's numbers.
        """
        total, lit = 0.0, 0
        for rows in _blocks(light):
            luminance = light[rows] @ LUMINANCE
            luminance = luminance[luminance > 0]
            total, lit = total + float(np.log(luminance, dtype=np.float64).sum()), lit + luminance.size
        scale = KEY / float(np.exp(total / lit)) if lit else 1.0
        return cls(scale, float(light.max()) * scale if lit else 1.0, stored)

    def encode(self, light: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
        """Turn linear light, not negative, into pixels in [0, 1]."""
        pixels = np.empty_like(light)
        for rows in _blocks(light):
            x = light[rows].astype(np.float64) * self.scale
            t = x * (1 + x / self.white**2) / (1 + x)
            pixels[rows] = np.where(t <= 0.0031308, 12.92 * t, 1.055 * t ** (1 / 2.4) - 0.055).clip(0, 1)
        return pixels

    def decode(self, pixels: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
        """Turn pixels in [0, 1] back into linear light."""
        light = np.empty_like(pixels)
        for rows in _blocks(pixels):
            v = pixels[rows].astype(np.float64)
            t = np.where(v <= 12.92 * 0.0031308, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
            b = (1 - t) / 2
            # The positive root of x² / white² + (1 - t) x = t, in the form that loses no digits for small t.
            light[rows] = t / (b + np.sqrt(b * b + t / self.white**2)) / self.scale
        return light


def _blocks(pixels: NDArray[np.float32]) -> Iterator[slice]:
    return (slice(top, top + ROWS) for top in range(0, len(pixels), ROWS))
