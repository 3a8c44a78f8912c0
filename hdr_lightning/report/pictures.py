"""Small pictures of large ones: for the eye, honest about what is not finite."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hdr_lightning.image.color import luminance

MAGENTA = (255, 0, 255)

LEVELS = 0.25
"""Difference of luminance (sRGB-encoded) that has the full colour in a difference map."""

BINS = 64
"""Of histograms, equally wide over [0, 1]."""

DARKER_TO_BRIGHTER = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))
"""Colours of a difference map from -LEVELS over 0 to +LEVELS, told apart without seeing red and green."""

Picture = Float[Tensor, "3 h w"]


class Window(NamedTuple):
    """A square window of a picture: where it is, in pixels, and the mean absolute error in it."""

    left: int
    top: int
    side: int
    error: float


def thumbnail(pixels: UInt8[np.ndarray, "h w 3"], height: int) -> Image.Image:
    """A smaller copy, at most `height` high."""
    image = Image.fromarray(pixels)
    image.thumbnail((image.width, height), Image.Resampling.LANCZOS)
    return image


def marked(image: Picture, small: Image.Image) -> Image.Image:
    """Colour what shows a value that is not finite, however much smaller than the picture."""
    broken = (~image.isfinite()).any(dim=0)
    if broken.any():
        mask = F.adaptive_max_pool2d(broken[None].float(), (small.height, small.width))
        mask = F.max_pool2d(mask, 5, stride=1, padding=2)[0]  # a JPEG loses the colour of a single pixel
        small.paste(MAGENTA, mask=Image.fromarray((mask.cpu().numpy() * 255).astype(np.uint8)))
    return small


def difference_map(output: Picture, target: Picture, height: int) -> Image.Image:
    """Show where a picture is darker (blue) and brighter (red) than its target.

    Args:
        output: not clamped, and perhaps not finite.
        target: RGB, sRGB-encoded, [0, 1].
        height: of the map, at most, in pixels.
    """
    difference = luminance(output.nan_to_num(0).clamp(0, 1)) - luminance(target)
    share = min(1.0, height / difference.shape[-2])
    size = [max(1, round(length * share)) for length in difference.shape[-2:]]
    small = F.interpolate(difference.reshape(1, 1, *difference.shape[-2:]), size=size, mode="area")[0, 0]
    places = (small / LEVELS).clamp(-1, 1).cpu().numpy()
    anchors = np.linspace(-1, 1, len(DARKER_TO_BRIGHTER))
    colours = [np.interp(places, anchors, channel) for channel in zip(*DARKER_TO_BRIGHTER, strict=True)]
    return marked(output, Image.fromarray(np.stack(colours, axis=-1).round().astype(np.uint8)))


def histogram(image: Picture) -> list[float]:
    """Percent of the pixels in each of `BINS` bins of luminance; of pixels that are finite."""
    values = luminance(image.clamp(0, 1)).flatten()
    values = values[values.isfinite()]
    counts = torch.bincount((values * BINS).long().clamp(max=BINS - 1), minlength=BINS)
    return [round(share, 3) for share in (100 * counts / max(len(values), 1)).tolist()]


def worst_window(output: Picture, target: Picture, side: int) -> Window:
    """Find the window in which a picture is furthest from its target.

    Args:
        output: not clamped; what is not finite is an error of 1.
        target: RGB, sRGB-encoded, [0, 1].
        side: of the window, in pixels; that of the picture where it is smaller.
    """
    side = min(side, *output.shape[-2:])
    error = (output.clamp(0, 1) - target).abs().nan_to_num(1).mean(dim=0)
    width = error.shape[1]
    sums = F.pad(error.double().cumsum(0).cumsum(1), (1, 0, 1, 0))  # of all above and left
    inside = (sums[side:, side:] - sums[:-side, side:]).sub_(sums[side:, :-side]).add_(sums[:-side, :-side])
    row, column = divmod(int(inside.argmax()), width - side + 1)
    return Window(column, row, side, float(inside[row, column]) / side**2)
