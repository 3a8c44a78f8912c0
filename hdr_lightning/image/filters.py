"""Pictures through linear filters: gradients, blur, pyramids, frequencies."""

import torch
from jaxtyping import Complex, Float
from kornia.filters import gaussian_blur2d, spatial_gradient
from torch import Tensor
from torch.nn import functional as F

Features = Float[Tensor, "n c h w"]


def sobel_gradient(x: Features) -> Float[Tensor, "n c 2 h w"]:
    """Slope of each channel to the right and downwards, per pixel (Sobel, weights summing to 1 a side)."""
    return spatial_gradient(x)


def blur(x: Features, sigma: float) -> Features:
    """Blur with a Gaussian, at the borders by reflection; no wider than a picture."""
    reach = min(int(3 * sigma + 0.5), *(length - 1 for length in x.shape[-2:]))
    return gaussian_blur2d(x, 2 * reach + 1, (sigma, sigma))


def pyramid(x: Features, levels: int) -> list[Float[Tensor, "n c _ _"]]:
    """Features at full resolution, half, a quarter, ..., by averaging; as many levels as there are pixels for."""
    steps = [x]
    while len(steps) < levels and min(steps[-1].shape[-2:]) > 1:
        steps.append(F.avg_pool2d(steps[-1], 2))
    return steps


def spectrum(x: Features) -> Complex[Tensor, "n c h w"]:
    """Fourier transform of each channel that keeps the energy (orthonormal)."""
    return torch.fft.fft2(x, norm="ortho")
