"""Random changes of a training pair: where it is cut, how its source is lit, what it is mixed with.

All draws come from the generator of the sample, always in the same order and whether or not they are used: switching
one change on leaves the others as they were.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8, UInt16
from numpy.typing import NDArray
from torch import Tensor

from hdr_lightning.errors import InputError
from hdr_lightning.image.color import decode_srgb, encode_srgb

Pixels = UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"] | Float[np.ndarray, "h w 3"]
"""As in the file: 0 to 255, 0 to 65535, or float32 in [0, 1]; sRGB-encoded."""

Crop = UInt8[np.ndarray, "crop crop 3"] | UInt16[np.ndarray, "crop crop 3"] | Float[np.ndarray, "crop crop 3"]

MIXUP_BETA = 1.2
"""Both parameters of the Beta distribution of MixUp's shares, as in MIRNet (Zamir et al., ECCV 2020)."""


class Place(NamedTuple):
    """A square in a photo, and how it is turned.

    Attributes:
        top: first row.
        left: first column.
        crop: side in pixels.
        mirrored: whether left and right change places.
        upside_down: whether top and bottom change places.
        turns: quarter turns counter-clockwise, after that.
    """

    top: int
    left: int
    crop: int
    mirrored: bool
    upside_down: bool
    turns: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the square."""
        return slice(self.top, self.top + self.crop), slice(self.left, self.left + self.crop)

    def turn(self, square: Shaped[np.ndarray, "crop crop c"]) -> Shaped[np.ndarray, "crop crop c"]:
        """Mirror and turn what was cut out; a view."""
        square = square[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return np.rot90(square, self.turns)

    def cut(self, picture: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "crop crop c"]:
        """Cut the square out of a picture, and turn it; a view."""
        return self.turn(picture[self.window])


@dataclass(frozen=True)
class CropFlip:
    """Where both pictures of a pair are cut, and how both are mirrored and turned.

    Attributes:
        crop: side of the square in pixels.
        flip: probability that left and right change places.
        flip_vertical: probability that top and bottom change places.
        turns: probability of a turn by 90, 180 or 270 degrees, each as likely; 0.75 makes all four directions alike.
    """

    crop: int
    flip: float
    flip_vertical: float = 0.0
    turns: float = 0.0

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Place:
        """Choose a place in a photo.

        Raises:
            InputError: if the photo is smaller than the crop.
        """
        if min(height, width) < self.crop:
            raise InputError(f"a photo of {width} x {height} pixels is smaller than data.crop={self.crop}: lower it")
        top = int(rng.integers(height - self.crop + 1))
        left = int(rng.integers(width - self.crop + 1))
        mirrored = rng.random() < self.flip
        upside_down = rng.random() < self.flip_vertical
        turns = int(rng.random() < self.turns) * int(rng.integers(1, 4))
        return Place(top, left, self.crop, mirrored, upside_down, turns)

    def __call__(self, source: Pixels, target: Pixels, rng: np.random.Generator) -> tuple[Crop, Crop]:
        """Cut one square out of both pictures; their depths may differ."""
        height, width = source.shape[:2]
        place = self.draw(height, width, rng)
        return place.cut(source), place.cut(target)


@dataclass(frozen=True)
class Jitter:
    """Another light on the source: what a camera would have seen with another exposure and white balance.

    Gains of linear light, clipped at white as a sensor clips.

    Attributes:
        exposure: largest change of the exposure in stops, up or down.
        white_balance: largest change of red and of blue, each for itself, against green in stops, up or down.
    """

    exposure: float = 0.0
    white_balance: float = 0.0

    def __call__(self, source: Pixels, rng: np.random.Generator) -> Pixels:
        """Change a picture, in float32 so that nothing is rounded to its depth; the same array where both are 0."""
        exposure, red, blue = rng.uniform(-1, 1, 3)
        if not self.exposure and not self.white_balance:
            return source
        stops = self.exposure * exposure + self.white_balance * np.array([red, 0, blue])
        gains = torch.from_numpy(np.exp2(stops)).float()
        if source.dtype not in (np.uint8, np.uint16):
            return _lit(decode_srgb(torch.from_numpy(np.ascontiguousarray(source))), gains)
        table = _lit(_linear(np.iinfo(source.dtype).max)[:, None], gains)
        return np.stack([table[:, channel].take(source[..., channel]) for channel in range(3)], axis=-1)


def _lit(linear: Tensor, gains: Float[Tensor, "3"]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = encode_srgb((linear * gains).clamp(max=1)).numpy()
    return result


@cache
def _linear(highest: int) -> Float[Tensor, " levels"]:
    """The linear light of every value that a file of integers can hold."""
    return decode_srgb(torch.arange(highest + 1, dtype=torch.float32) / highest)


@dataclass(frozen=True)
class Mix:
    """A second pair mixed into the first, source into source and target into target, on encoded values.

    Attributes:
        mixup: probability of MixUp: a weighted mean, shares from Beta(1.2, 1.2) (Zhang et al., ICLR 2018).
        cutmix: probability of CutMix: a rectangle of the other, its share of the area uniform (Yun et al., ICCV 2019).
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def draw(self, side: int, rng: np.random.Generator) -> Float[Tensor, "side side"] | None:
        """Choose the weight of the first pair at every pixel, in [0, 1]; nothing where it stays alone."""
        chance = rng.random()
        share = rng.beta(MIXUP_BETA, MIXUP_BETA)
        row, column = rng.random(2) * side
        half = np.sqrt(rng.random()) * side / 2  # of the side of the rectangle
        if chance < self.mixup:
            return torch.full((side, side), share)
        if chance >= self.mixup + self.cutmix:
            return None
        weight = torch.ones(side, side)
        top, left = (max(round(middle - half), 0) for middle in (row, column))
        weight[top : round(row + half), left : round(column + half)] = 0
        return weight
