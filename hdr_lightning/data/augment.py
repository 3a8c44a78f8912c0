"""Random changes that a source and its target share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from hdr_lightning.errors import InputError

Pixels = UInt8[np.ndarray, "h w 3"]
Crop = UInt8[np.ndarray, "crop crop 3"]


@dataclass(frozen=True)
class CropFlip:
    """Cut one square out of both pictures of a pair, at one place, and mirror both or none.

    Attributes:
        crop: side of the square in pixels.
        flip: probability of a horizontal flip.
    """

    crop: int
    flip: float

    def __call__(self, source: Pixels, target: Pixels, rng: np.random.Generator) -> tuple[Crop, Crop]:
        height, width = source.shape[:2]
        if min(height, width) < self.crop:
            raise InputError(f"a photo of {width} x {height} pixels is smaller than data.crop={self.crop}: lower it")
        top = int(rng.integers(height - self.crop + 1))
        left = int(rng.integers(width - self.crop + 1))
        step = -1 if rng.random() < self.flip else 1
        window = (slice(top, top + self.crop), slice(left, left + self.crop))
        return source[window][:, ::step], target[window][:, ::step]
