"""Colour of pictures: luminance, saturation, linear light."""

import torch
from jaxtyping import Float
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
