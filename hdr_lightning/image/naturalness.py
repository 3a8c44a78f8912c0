"""How natural a picture looks without another to compare it with: NIQE (Mittal, Soundararajan, Bovik, 2013)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from hdr_lightning.image.types import Image

PATCH = 96
"""Side of the patches at full resolution, in pixels."""

FEATURES = 36
"""Of a patch: 18 at full resolution, 18 at half."""

NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Down and right from each pixel: the products whose distribution tells of distortions."""

LUMA = (65.481, 128.553, 24.966)
"""Weights of red, green and blue in the luma of ITU-R BT.601, whose range is 16 to 235."""

NOTHING = 1e-6
"""Levels by which a pixel differs from the mean of its neighbourhood through rounding alone."""

Grey = Float[Tensor, "_ _"]
Blocks = Float[Tensor, "b p p"]
PerBlock = Float[Tensor, " b"]


class NaturalModel(NamedTuple):
    """The features of natural pictures, as a Gaussian.

    Attributes:
        mean: of the features.
        covariance: of the features.
        window: that weighs a neighbourhood; its sum is 1.
    """

    mean: Float[Tensor, " 36"]
    covariance: Float[Tensor, "36 36"]
    window: Float[Tensor, "7 7"]


def niqe(image: Image, model: NaturalModel) -> float | None:
    """Distance of a picture's patches from those of natural pictures: 2 to 6 on photos, more is worse.

    The picture is converted to 8-bit luma (BT.601) and halved as MATLAB's `imresize` does it, as in BasicSR 1.4. Its
    patches are described one row of them at a time, in float64.

    Args:
        image: one picture.
        model: what natural pictures are like, on the CPU.

    Returns:
        The distance, or nothing where fewer than two patches have a texture.
    """
    features = _features(_luma(image), model.window)
    sound = features.isfinite().all(dim=1)
    if int(sound.sum()) < 2:
        return None
    difference = model.mean - features.where(features.isfinite(), torch.nan).nanmean(dim=0)
    spread = torch.linalg.pinv((model.covariance + features[sound].T.cov()) / 2)
    return float((difference @ spread @ difference).sqrt())


def _luma(image: Image) -> Grey:
    """Whole levels from 16 to 235, whose height and width are multiples of the patches'."""
    height, width = (length // PATCH * PATCH for length in image.shape[-2:])
    plane = image.reshape(3, *image.shape[-2:])[:, :height, :width].cpu().clamp(0, 1)
    level = torch.full((height, width), 16.0, dtype=torch.float64)
    for weight, channel in zip(LUMA, plane, strict=True):
        level += weight * channel.double()
    return level.round().float()


def _features(level: Grey, window: Float[Tensor, "7 7"]) -> Float[Tensor, "b 36"]:
    """Features of all patches; those of a patch without texture are not finite."""
    if not level.numel():
        return torch.empty(0, FEATURES, dtype=torch.float64)
    fine = _patches(level, window, PATCH)
    coarse = _patches(_halve(_halve(level).T).T, window, PATCH // 2)
    return torch.cat((fine, coarse), dim=1)


def _patches(level: Grey, window: Float[Tensor, "7 7"], side: int) -> Float[Tensor, "b 18"]:
    """Features at one scale, a row of patches at a time."""
    reach = window.shape[0] // 2
    padded = F.pad(level[None, None], (reach,) * 4, mode="replicate")[0, 0]
    rows = []
    for top in range(0, level.shape[0], side):
        part = padded[top : top + side + 2 * reach].double()
        blocks = _normalised(part, window).unfold(1, side, side).transpose(0, 1)
        rows.append(_describe(blocks))
    return torch.cat(rows)


def _normalised(part: Grey, window: Float[Tensor, "7 7"]) -> Grey:
    """Each pixel less the mean of its neighbourhood, over its deviation (equation 1); in flat regions exactly 0.

    There, other programs describe the rounding of their sums, and differ by it in the third digit.
    """
    mean, square = F.conv2d(torch.stack((part, part * part))[:, None], window[None, None])[:, 0]
    reach = window.shape[0] // 2
    centre = part[reach:-reach, reach:-reach]
    deviation = (square - mean * mean).abs().sqrt()
    return (centre - mean).where((centre - mean).abs() > NOTHING, 0) / (deviation + 1)


def _describe(blocks: Blocks) -> Float[Tensor, "b 18"]:
    """Shapes and widths of the distributions of values, and of products with each of four neighbours."""
    shape, left, right = _fit(blocks)
    found = [shape, (left + right) / 2]
    for shift in NEIGHBOURS:
        shape, left, right = _fit(blocks * blocks.roll(shift, dims=(1, 2)))
        gammas = torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        found += [shape, (right - left) * gammas, left, right]
    return torch.stack(found, dim=1)


def _fit(blocks: Blocks) -> tuple[PerBlock, PerBlock, PerBlock]:
    """Fit an asymmetric generalised Gaussian by its moments (Lasmar et al., 2009): shape, and width on each side."""
    values = blocks.flatten(1)
    squares = values * values
    left, right = (
        ((squares * side).sum(dim=1) / side.sum(dim=1)).sqrt()
        for side in ((values < 0).double(), (values > 0).double())
    )
    ratio = left / right
    moment = values.abs().mean(dim=1) ** 2 / squares.mean(dim=1)
    wanted = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes = torch.arange(0.2, 10.0005, 0.001, dtype=torch.float64)
    ratios = torch.exp(2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes))
    shape = shapes[(ratios - wanted[:, None]).abs().argmin(dim=1)]
    width = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * width, right * width


def _halve(level: Grey) -> Grey:
    """Half the rows, an even number, by the cubic of MATLAB's `imresize`; at the borders by reflection."""
    weights = torch.tensor([_cubic((place + 0.5) / 2) for place in range(-4, 4)], dtype=level.dtype)
    weights /= weights.sum()
    padded = torch.cat((level[:3].flip(0), level, level[-3:].flip(0)))
    return sum(weight * padded[place : place + level.shape[0] : 2] for place, weight in enumerate(weights.tolist()))


def _cubic(x: float) -> float:
    """Kernel of Keys (1981) with a = -1/2."""
    x = math.fabs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
