"""What makes a bad photo of a clean one: blur, noise, darkness, compression, lost colour.

Each step says whether it happens to light or to the code values of a file, and `degrade` converts between the two only
where a step needs it. All chance comes from the generator that is passed in.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, UInt8, UInt16
from numpy.typing import NDArray
from PIL import Image

from hdr_lightning.errors import InputError
from hdr_lightning.image.color import REC709, decode_srgb, encode_srgb

Picture = Float32[np.ndarray, "h w 3"]
"""RGB in [0, 1], linear light or sRGB-encoded as the step says."""

Pixels = UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
"""RGB, sRGB-encoded, 0 to 255, to 65535 or to 1."""

Kernel = Float32[np.ndarray, "k k"]

Range = tuple[float, float]
"""Lowest and highest of what is drawn; equal numbers draw nothing."""


class Degradation(ABC):
    """One step of degradation.

    Attributes:
        linear: whether the step takes and gives linear light, else sRGB code values.
    """

    linear: bool = True

    @abstractmethod
    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """Degrade a picture; values outside [0, 1] are clipped when it is encoded."""


def _checked(name: str, values: Range, low: float, high: float) -> Range:
    if not low <= values[0] <= values[1] <= high:
        raise InputError(f"{name} is to be [lowest, highest] within {low} and {high}, got {list(values)}")
    return values


class GaussianBlur(Degradation):
    """Blur of a lens that is slightly soft.

    Args:
        sigma: standard deviation in pixels, drawn evenly from [lowest, highest].
    """

    def __init__(self, sigma: Range = (0.5, 3.0)) -> None:
        self.sigma = _checked("sigma", sigma, 0.01, 50)

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        sigma = rng.uniform(*self.sigma)
        reach = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        profile = np.exp(-0.5 * (reach / sigma) ** 2)
        return convolve(picture, np.outer(profile, profile))


class MotionBlur(Degradation):
    """Blur of a camera that moves straight while the shutter is open, in any direction.

    Args:
        length: way in pixels, drawn evenly from [lowest, highest].
    """

    def __init__(self, length: Range = (3.0, 25.0)) -> None:
        self.length = _checked("length", length, 0, 200)

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        length, angle = rng.uniform(*self.length), rng.uniform(0, np.pi)
        radius = int(np.ceil(length / 2)) + 1
        way = np.linspace(-length / 2, length / 2, 8 * radius + 1)
        x, y = radius + way * np.cos(angle), radius + way * np.sin(angle)
        kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        for across, share_x in ((0, 1 - (x - left)), (1, x - left)):
            for down, share_y in ((0, 1 - (y - top)), (1, y - top)):
                np.add.at(kernel, (top + down, left + across), share_x * share_y)
        return convolve(picture, kernel)


class DefocusBlur(Degradation):
    """Blur of a lens out of focus: an evenly lit disc.

    Args:
        radius: of the disc in pixels, drawn evenly from [lowest, highest].
    """

    def __init__(self, radius: Range = (1.0, 6.0)) -> None:
        self.radius = _checked("radius", radius, 0.1, 50)

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        radius = rng.uniform(*self.radius)
        reach = int(np.ceil(radius))
        fine = (np.arange((2 * reach + 1) * 5) + 0.5) / 5 - reach - 0.5  # five samples a pixel soften the rim
        inside = (fine[:, None] ** 2 + fine**2 <= radius**2).astype(float)
        return convolve(picture, inside.reshape(2 * reach + 1, 5, 2 * reach + 1, 5).sum(axis=(1, 3)))


class SensorNoise(Degradation):
    """Noise of a sensor (Foi et al., TIP 2008): normal, of variance `shot` x light + `read`^2, in each channel.

    Args:
        shot: variance at full light, drawn from [lowest, highest] evenly in the logarithm. 1e-4 is a good camera at
            its base ISO, 0.01 a phone in the dark (Brooks et al., CVPR 2019).
        read: standard deviation at no light, drawn likewise.
    """

    def __init__(self, shot: Range = (1e-4, 1e-2), read: Range = (5e-4, 2e-2)) -> None:
        self.shot = _checked("shot", shot, 1e-9, 1)
        self.read = _checked("read", read, 1e-9, 1)

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        shot, read = (np.exp(rng.uniform(*np.log(values))) for values in (self.shot, self.read))
        deviation = np.sqrt(np.maximum(picture, 0) * np.float32(shot) + np.float32(read**2))
        noise: Picture = rng.standard_normal(picture.shape, dtype=np.float32) * deviation
        return picture + noise


class Underexposure(Degradation):
    """Too little light.

    Args:
        stops: how much less, drawn evenly from [lowest, highest]; a stop is half the light.
        bits: of the converter behind the sensor, whose steps show in the dark; without it light is not quantised.
    """

    def __init__(self, stops: Range = (1.0, 4.0), bits: int | None = None) -> None:
        self.stops = _checked("stops", stops, 0, 16)
        if bits is not None and not 1 <= bits <= 16:
            raise InputError(f"bits is to lie between 1 and 16, got {bits}")
        self.bits = bits

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        dark = picture * np.float32(2 ** -rng.uniform(*self.stops))
        if self.bits is None:
            return dark
        steps = np.float32(2**self.bits - 1)
        return np.round(dark * steps) / steps


class Grey(Degradation):
    """Colour lost: each channel is the luminance (Rec. 709) of the light."""

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        return np.repeat((picture @ np.array(REC709, np.float32))[..., None], 3, axis=-1)


class Jpeg(Degradation):
    """Compression as JPEG with chroma at half the resolution, as cameras and web sites do.

    Args:
        quality: of Pillow's scale, drawn evenly from the whole numbers of [lowest, highest].
    """

    linear = False

    def __init__(self, quality: tuple[int, int] = (30, 90)) -> None:
        _checked("quality", quality, 1, 100)
        self.quality = quality

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        quality = int(rng.integers(self.quality[0], self.quality[1], endpoint=True))
        file = io.BytesIO()
        Image.fromarray(quantised(picture, np.uint8)).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        return np.asarray(Image.open(file)).astype(np.float32) / np.float32(255)


class OneOf(Degradation):
    """One of several degradations, each as likely, such as one kind of blur.

    Args:
        choices: all of light, or all of code values.
        skip: probability that nothing is done, in [0, 1].
    """

    def __init__(self, choices: list[Degradation], skip: float = 0.0) -> None:
        if len({choice.linear for choice in choices}) != 1:
            raise InputError(
                "choices are to be all of light or all of code values (Jpeg), got "
                + (", ".join(type(choice).__name__ for choice in choices) or "none")
            )
        if not 0 <= skip <= 1:
            raise InputError(f"skip is to lie between 0 and 1, got {skip}")
        self.choices = choices
        self.skip = skip
        self.linear = choices[0].linear

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        if rng.random() < self.skip:
            return picture
        return self.choices[int(rng.integers(len(self.choices)))](picture, rng)


def degrade(pixels: Pixels, steps: Sequence[Degradation], rng: np.random.Generator) -> Pixels:
    """Make a bad photo of a clean one.

    Args:
        pixels: the clean photo, or a crop of it.
        steps: what is done, in this order.
        rng: decides all chance: an equal one gives an equal result.

    Returns:
        A photo of the same size and dtype.
    """
    peak = 1 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max
    picture, linear = pixels.astype(np.float32) / np.float32(peak), False
    for step in steps:
        if step.linear != linear:
            picture, linear = (_decode if step.linear else _encode)(picture), step.linear
        picture = step(picture, rng)
    return quantised(_encode(picture) if linear else picture, pixels.dtype)


def convolve(picture: Picture, kernel: NDArray[np.floating]) -> Picture:
    """Filter with a kernel, normalised to a sum of 1; the picture is mirrored at its borders.

    Through the Fourier transform, whose time does not grow with the kernel. NumPy's starts no threads, which would
    fight over the cores with those that read photos.

    Args:
        picture: any picture, smaller than the kernel or not.
        kernel: of odd height and width.
    """
    radius = kernel.shape[0] // 2
    height, width = picture.shape[:2]
    size = [-(-(length + 2 * radius) // 32) * 32 for length in (height, width)]  # of small prime factors, which is fast
    response = np.fft.rfft2((kernel / kernel.sum()).astype(np.float32), size)
    blurred = np.empty_like(picture)
    for channel in range(3):  # one at a time, for the memory
        padded = np.pad(picture[..., channel], radius, "reflect")
        filtered = np.fft.irfft2(np.fft.rfft2(padded, size) * response, size)
        blurred[..., channel] = filtered[2 * radius :, 2 * radius :][:height, :width]
    return blurred


def _decode(encoded: Picture) -> Picture:
    return decode_srgb(torch.from_numpy(encoded)).numpy()


def _encode(linear: Picture) -> Picture:
    """Turn linear light into sRGB code values; light outside [0, 1] is clipped."""
    return encode_srgb(torch.from_numpy(linear).clamp(0, 1)).numpy()


def quantised(encoded: Picture, dtype: np.dtype | type) -> Pixels:
    """Clip code values and round them to the steps of a dtype."""
    clipped = np.clip(encoded, 0, 1)
    if dtype == np.float32:
        return clipped
    return (clipped * np.float32(np.iinfo(dtype).max) + np.float32(0.5)).astype(dtype)
