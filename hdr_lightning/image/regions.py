"""Soft masks over a picture: where it is a window, a shadow, a midtone."""

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.image.color import luminance
from hdr_lightning.image.types import Image, Plane

MOST = 2**20
"""Pixels of which a percentile is taken; of a larger picture, of a regular grid of so many."""


def bright_mask(image: Image, threshold: float = 0.75, softness: float = 0.05) -> Plane:
    """Mark bright regions, which in an interior are its windows and lamps.

    Args:
        image: pictures.
        threshold: luminance (Rec. 709, sRGB-encoded) where the mask is one half.
        softness: the luminance above the threshold where the mask reaches 0.73; smaller is a harder edge.

    Returns:
        A mask in [0, 1], a smooth (logistic) function of the luminance.
    """
    return ((luminance(image) - threshold) / softness).sigmoid()


def zones(
    image: Image,
    dark: float | Float[Tensor, "*n 1 1 1"] = 0.25,
    bright: float | Float[Tensor, "*n 1 1 1"] = 0.75,
    softness: float = 0.03,
) -> tuple[Plane, Plane, Plane]:
    """Share pictures out among windows, shadows and midtones.

    Args:
        image: pictures.
        dark: luminance where shadows and midtones meet, for all pictures or for each.
        bright: luminance where midtones and windows meet, above `dark`.
        softness: as in `bright_mask`.

    Returns:
        Masks of windows, shadows and midtones, in [0, 1], whose sum is 1.
    """
    level = luminance(image)
    windows = ((level - bright) / softness).sigmoid()
    shadows = ((dark - level) / softness).sigmoid() * (1 - windows)
    return windows, shadows, 1 - windows - shadows


def percentile(plane: Plane, share: float) -> Float[Tensor, "*n 1 1 1"]:
    """The value below which a share of each picture's pixels lies, without a gradient."""
    height, width = plane.shape[-2:]
    step = 1
    while (height // step) * (width // step) > MOST:
        step += 1
    pixels = plane.detach()[..., ::step, ::step].flatten(-3)
    return torch.quantile(pixels, share, dim=-1).view(*plane.shape[:-3], 1, 1, 1)


def changed_mask(source: Image, target: Image, threshold: float = 0.1, softness: float = 0.02) -> Plane:
    """Mark where an edit changed a picture.

    Args:
        source: before.
        target: after.
        threshold: mean absolute difference of the channels where the mask is one half.
        softness: the difference above the threshold where the mask reaches 0.73.

    Returns:
        A mask in [0, 1].
    """
    change = (source - target).abs().mean(dim=-3, keepdim=True)
    return ((change - threshold) / softness).sigmoid()


def mean_within(values: Plane, mask: Plane) -> Float[Tensor, "*n"]:
    """Mean of each picture's values, weighted by a mask; fades to 0 where the mask covers less than a pixel."""
    return (values * mask).sum(dim=(-3, -2, -1)) / (mask.sum(dim=(-3, -2, -1)) + 1)
