"""What is done to a picture around the network: averaged turns, a blend with the source, a light sharpening."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from hdr_lightning.image.color import luminance
from hdr_lightning.image.filters import blur

Picture = Float[Tensor, "1 3 _ _"]

TURNS = [(quarters, flipped) for flipped in (False, True) for quarters in range(4)]
"""The eight ways in which a picture can lie: quarter turns, before and after a flip."""

RADIUS = 1.0
"""Sigma of the unsharp mask, in pixels."""

HALO = 4 / 255
"""How far sharpening may take a pixel beyond the darkest and brightest of its neighbours."""


def turned_results(image: Picture, edit: Callable[[Picture], Picture]) -> Iterator[Picture]:
    """Edit a picture in all eight ways in which it can lie, one after the other, each result turned back.

    Args:
        image: a picture.
        edit: from a picture to one of the same size.
    """
    for quarters, flipped in TURNS:
        laid = torch.rot90(image.flip(-1) if flipped else image, quarters, (-2, -1))
        result = torch.rot90(edit(laid), -quarters, (-2, -1))
        yield result.flip(-1) if flipped else result


def running_mean(pictures: Iterator[Picture], count: int) -> Picture:
    """The mean of so many pictures, of which one at a time is in memory beside it."""
    total = next(pictures)
    if count == 1:
        return total
    total = total.float().clone()
    for picture in pictures:
        total.add_(picture)
    return total.div_(count)


def blend(result: Picture, source: Picture, strength: float) -> Picture:
    """Mix a result with its source: 0 is the source, 1 the result."""
    return result if strength == 1 else torch.lerp(source, result, strength)


def sharpen(image: Picture, amount: float) -> Picture:
    """Add to the luminance what a blur of one pixel takes away from it (unsharp mask); colours keep their differences.

    A pixel goes no further than `HALO` beyond the darkest and brightest of its 3 x 3 neighbours, so that edges get
    steeper without bright and dark seams along them.

    Args:
        image: a picture.
        amount: 0 leaves it as it is, 0.5 is light, 1 is strong.
    """
    if amount == 0:
        return image
    light = luminance(image)
    around = F.pad(light, (1, 1, 1, 1), mode="replicate")
    darkest, brightest = -F.max_pool2d(-around, 3, stride=1), F.max_pool2d(around, 3, stride=1)
    sharper = light + amount * (light - blur(light, RADIUS))
    return image + (sharper.clamp(darkest - HALO, brightest + HALO) - light)
