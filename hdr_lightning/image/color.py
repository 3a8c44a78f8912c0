"""Colour of pictures: luminance, hue, saturation, linear light, CIELAB and its differences."""

import math

import torch
from jaxtyping import Float
from kornia.color import rgb_to_lab
from torch import Tensor

from hdr_lightning.image.types import Image, Plane

REC709 = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue in luminance (ITU-R BT.709)."""

DARKEST = 1 / 255
"""One step of an 8-bit file: below it a pixel's colour is rounding, and ratios of its channels mean nothing."""


def luminance(image: Image) -> Plane:
    """Weigh the channels by Rec. 709, on the values as they are (sRGB-encoded: luma)."""
    weights = torch.tensor(REC709, dtype=image.dtype, device=image.device).view(3, 1, 1)
    return (image * weights).sum(dim=-3, keepdim=True)


def saturation(image: Image) -> Plane:
    """Saturation of HSV, (max - min) / max, damped to 0 where the brightest channel is below one 8-bit step.

    Negative values count as 0. The damping bounds the gradient, which is infinite at black in the plain form.

    Returns:
        Saturation in [0, 1]: 0 for grey, 1 where a channel is 0.
    """
    image = image.clamp(min=0)
    brightest = image.amax(dim=-3, keepdim=True)
    darkest = image.amin(dim=-3, keepdim=True)
    return (brightest - darkest) / brightest.clamp(min=DARKEST)


def encode_srgb(linear: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Turn linear light into sRGB code values (IEC 61966-2-1); both in [0, 1], negative light counts as 0."""
    linear = linear.clamp(min=0)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def decode_srgb(encoded: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Turn sRGB code values into linear light (IEC 61966-2-1); both in [0, 1], negative values count as 0."""
    encoded = encoded.clamp(min=0)
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def direction(image: Image, damping: float = 0.05) -> Float[Tensor, "*n 4 h w"]:
    """Colour apart from brightness: the direction of each pixel in RGB, as a unit vector.

    Half the squared distance of two of them is 1 - cos of the angle between the colours. The fourth component is the
    damping: a pixel much darker than it points its way, whatever its colour, so that the gradient is finite at black.
    """
    return _unit(torch.cat((image, torch.full_like(image[..., :1, :, :], damping)), dim=-3))


def hue_direction(image: Image, damping: float = 0.05) -> Float[Tensor, "*n 3 h w"]:
    """Hue as a direction, which has no jump at red, apart from saturation and brightness.

    A quarter of the squared distance of two of them is (1 - cos of the difference in hue) / 2. The hue is the angle
    in the plane of chroma, within 1.2 degrees of the hexagon's that HSV has (Hanbury, 2008). Colours whose chroma is
    much less than the damping have none: they point along the third component.
    """
    red, green, blue = image.unbind(dim=-3)
    plane = torch.stack((red - (green + blue) / 2, math.sqrt(0.75) * (green - blue)), dim=-3)
    return _unit(torch.cat((plane, torch.full_like(plane[..., :1, :, :], damping)), dim=-3))


def hue_distance(first: Image, second: Image) -> Plane:
    """(1 - cos of the difference in hue) / 2, in [0, 1]; 0 where neither has a colour."""
    return (hue_direction(first) - hue_direction(second)).square().sum(dim=-3, keepdim=True) / 4


def _unit(vectors: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
    return vectors * vectors.square().sum(dim=-3, keepdim=True).rsqrt()


def lab(image: Image) -> Float[Tensor, "*n 3 h w"]:
    """CIELAB under D65: lightness in [0, 100], a and b about [-100, 100]; negative values count as 0."""
    return rgb_to_lab(image.clamp(min=0))


def ciede2000(first: Float[Tensor, "*n 3 h w"], second: Float[Tensor, "*n 3 h w"], smoothness: float = 1e-3) -> Plane:
    """Difference of colours in CIELAB as people see it: 1 is just noticed, 100 is black against white.

    Sharma, Wu, Dalal: "The CIEDE2000 Color-Difference Formula", 2005. Roots carry an epsilon, by which equal colours
    are 0 and have a gradient of 0.

    Args:
        first: colours in CIELAB.
        second: colours in CIELAB.
        smoothness: by how much less a difference is found, at most; 0 where no gradient is needed.
    """
    l1, a1, b1 = first.unbind(dim=-3)
    l2, a2, b2 = second.unbind(dim=-3)
    mean_chroma = (_length(a1, b1) + _length(a2, b2)) / 2
    stretch = 1.5 - 0.5 * _strong(mean_chroma)
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = _length(a1, b1), _length(a2, b2)
    h1, h2 = _angle(a1, b1), _angle(a2, b2)
    turn = h2 - h1
    turn = torch.where(turn.abs() > math.pi, turn - 2 * math.pi * turn.sign(), turn)
    lightness, chroma = l2 - l1, c2 - c1
    hue = 2 * (c1 * c2 + 1e-12).sqrt() * torch.sin(turn / 2)

    mean_lightness, mean_chroma = (l1 + l2) / 2, (c1 + c2) / 2
    mean_hue = h1 + turn / 2
    weight = (
        1
        - 0.17 * torch.cos(mean_hue - math.radians(30))
        + 0.24 * torch.cos(2 * mean_hue)
        + 0.32 * torch.cos(3 * mean_hue + math.radians(6))
        - 0.20 * torch.cos(4 * mean_hue - math.radians(63))
    )
    degrees = torch.rad2deg(torch.remainder(mean_hue, 2 * math.pi))
    rotation = math.radians(60) * torch.exp(-(((degrees - 275) / 25) ** 2))
    from_middle = (mean_lightness - 50) ** 2
    lightness = lightness / (1 + 0.015 * from_middle / (20 + from_middle).sqrt())
    chroma = chroma / (1 + 0.045 * mean_chroma)
    hue = hue / (1 + 0.015 * mean_chroma * weight)
    interplay = -2 * _strong(mean_chroma) * torch.sin(rotation) * chroma * hue
    squared = lightness**2 + chroma**2 + hue**2 + interplay
    return ((squared.clamp(min=0) + smoothness**2).sqrt() - smoothness).unsqueeze(-3)


def _length(a: Float[Tensor, "*n h w"], b: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    return (a * a + b * b + 1e-12).sqrt()


def _angle(a: Float[Tensor, "*n h w"], b: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """Angle of a vector in [0, 2 pi]; 0, with a gradient of 0, for one without length."""
    nowhere = (a == 0) & (b == 0)
    return torch.remainder(torch.atan2(b, torch.where(nowhere, torch.ones_like(a), a)), 2 * math.pi)


def _strong(chroma: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """0 for grey, 1 for strong colours: sqrt(c^7 / (c^7 + 25^7)), on a scale that float32 holds."""
    seventh = (chroma / 25) ** 7
    return (seventh / (seventh + 1) + 1e-12).sqrt()
