"""How alike two pictures are, one number a picture: a mean over pictures never depends on how they were batched."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor
from torch.nn import functional as F

from hdr_lightning.image import color

Pictures = Float[Tensor, "n 3 h w"]
PerPicture = Float[Tensor, " n"]

SSIM_WINDOW = 11

STRIP = 2**20
"""Pixels that are compared at once by SSIM and CIEDE2000."""

MS_SSIM_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, full resolution first; their published sum is 1.0001."""


def l1(prediction: Pictures, target: Pictures) -> PerPicture:
    """Mean absolute error of each picture."""
    return (prediction - target).abs().mean(dim=(1, 2, 3))


def psnr(prediction: Pictures, target: Pictures) -> PerPicture:
    """Peak signal-to-noise ratio of each picture in dB, for a peak of 1; equal pictures give 100 dB, not infinity."""
    squared_error = (prediction - target).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(squared_error.clamp(min=1e-10))


def ciede2000(prediction: Pictures, target: Pictures) -> PerPicture:
    """Mean difference of colours as people see it (`image.color.ciede2000`): 0 at best, 1 is just noticed."""
    everywhere = torch.ones_like(target[:, :1])
    return weighted_errors(prediction, target, everywhere).ciede2000[:, 0]


class WeightedErrors(NamedTuple):
    """Of each picture under each of its k masks; not a number where the mask is 0 everywhere.

    Attributes:
        l1: mean absolute error.
        psnr: peak signal-to-noise ratio in dB, 100 at most.
        ciede2000: mean difference of colours.
    """

    l1: Float[Tensor, "n k"]
    psnr: Float[Tensor, "n k"]
    ciede2000: Float[Tensor, "n k"]


def weighted_errors(prediction: Pictures, target: Pictures, masks: Float[Tensor, "n k h w"]) -> WeightedErrors:
    """Means over pixels, weighted by masks; in strips, so that memory stays as for `STRIP`.

    Args:
        prediction: pictures.
        target: what they should be.
        masks: weights of pixels, 0 or more.
    """
    rows = max(STRIP // prediction.shape[-1], 1)
    strips = [slice(top, top + rows) for top in range(0, prediction.shape[-2], rows)]
    parts = [_weighted_sums(*(x[..., strip, :] for x in (prediction, target, masks))) for strip in strips]
    sums = torch.stack(parts).sum(dim=0)
    l1, squared, difference = (sums / masks.sum(dim=(2, 3))).unbind()
    return WeightedErrors(l1, -10 * torch.log10(squared.clamp(min=1e-10)), difference)


def _weighted_sums(
    prediction: Pictures, target: Pictures, masks: Float[Tensor, "n k h w"]
) -> Float[Tensor, "measures n k"]:
    error = prediction - target
    maps = (
        error.abs().mean(dim=1, keepdim=True),
        error.square().mean(dim=1, keepdim=True),
        color.ciede2000(color.lab(prediction), color.lab(target), smoothness=0),
    )
    return torch.stack([(each * masks).sum(dim=(2, 3)) for each in maps])


def ssim(prediction: Pictures, target: Pictures) -> PerPicture:
    """Structural similarity of each picture (Wang et al., 2004), a mean over channels and over whole windows.

    The window is the paper's, a Gaussian of sigma 1.5 on 11 x 11 pixels. The value is that of scikit-image with
    `gaussian_weights=True, use_sample_covariance=False, data_range=1` and of pytorch-msssim; torchmetrics and kornia
    treat the borders otherwise and differ in the third digit.

    Raises:
        ValueError: if a picture is smaller than the window.
    """
    _, likeness = _ssim_means(prediction, target)
    return likeness.mean(dim=1)


def ms_ssim(prediction: Pictures, target: Pictures) -> PerPicture:
    """Structural similarity at five scales (Wang, Simoncelli, Bovik, 2003), a mean over channels, in (0, 1].

    The value is that of pytorch-msssim. Where a picture is too small for a scale (below 176 pixels for five), it has
    fewer, whose exponents are scaled to the same sum. A contrast that is negative or nearly so, whose root the plain
    form does not have, fades out smoothly instead, with a gradient that still leads upwards.

    Raises:
        ValueError: if a picture is smaller than the window of SSIM.
    """
    scales = 1
    while scales < len(MS_SSIM_EXPONENTS) and min(prediction.shape[-2:]) // 2**scales >= SSIM_WINDOW:
        scales += 1
    exponents = MS_SSIM_EXPONENTS[:scales]
    whole = sum(MS_SSIM_EXPONENTS)
    logarithm = prediction.new_zeros(prediction.shape[:2])
    for scale, exponent in enumerate(exponents):
        structure, likeness = _ssim_means(prediction, target)
        mean = likeness if scale == scales - 1 else structure
        logarithm = logarithm + exponent * whole / sum(exponents) * _positive(mean).log()
        odd = [length % 2 for length in prediction.shape[-2:]]
        prediction, target = (F.avg_pool2d(x, 2, padding=odd) for x in (prediction, target))
    return logarithm.exp().mean(dim=1)


def _positive(x: Float[Tensor, "n c"], least: float = 0.05) -> Float[Tensor, "n c"]:
    """The same above `least`; below, a smooth tail that stays above 0."""
    return torch.where(x >= least, x, least**2 / (2 * least - x.clamp(max=least)))


def _ssim_means(x: Pictures, y: Pictures) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Means over the windows of likeness in contrast and structure, and of the whole likeness.

    Large pictures are compared in strips, which share the rows that their windows need: memory stays as for `STRIP`.
    """
    height, width = x.shape[-2:]
    rows = max(STRIP // width, SSIM_WINDOW)
    sums = []
    for top in range(0, max(height - SSIM_WINDOW + 1, 1), rows):
        strip = slice(top, top + rows + SSIM_WINDOW - 1)
        luminance, structure = _ssim_maps(x[..., strip, :], y[..., strip, :])
        sums.append(torch.stack((structure.sum(dim=(2, 3)), (luminance * structure).sum(dim=(2, 3)))))
    structure, likeness = torch.stack(sums).sum(dim=0) / ((height - SSIM_WINDOW + 1) * (width - SSIM_WINDOW + 1))
    return structure, likeness


def _ssim_maps(x: Pictures, y: Pictures) -> tuple[Float[Tensor, "n 3 wh ww"], Float[Tensor, "n 3 wh ww"]]:
    """Likeness of the mean, and of contrast and structure, in each window."""
    if min(x.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got {x.shape[-2]} x {x.shape[-1]}"
        )
    window = get_gaussian_kernel1d(SSIM_WINDOW, 1.5, device=x.device, dtype=x.dtype)
    moments = filter2d_separable(torch.cat((x, y, x * x, y * y, x * y)), window, window, padding="valid")
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = moments.chunk(5)
    var_x, var_y, covariance = mean_xx - mean_x**2, mean_yy - mean_y**2, mean_xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (var_x + var_y + c2)
