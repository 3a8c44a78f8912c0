"""How alike two pictures are, one number a picture: a mean over pictures never depends on how they were batched."""

import torch
from jaxtyping import Float
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor

Pictures = Float[Tensor, "n 3 h w"]
PerPicture = Float[Tensor, " n"]

SSIM_WINDOW = 11


def l1(prediction: Pictures, target: Pictures) -> PerPicture:
    """Mean absolute error of each picture."""
    return (prediction - target).abs().mean(dim=(1, 2, 3))


def psnr(prediction: Pictures, target: Pictures) -> PerPicture:
    """Peak signal-to-noise ratio of each picture in dB, for a peak of 1; equal pictures give 100 dB, not infinity."""
    squared_error = (prediction - target).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(squared_error.clamp(min=1e-10))


def ssim(prediction: Pictures, target: Pictures) -> PerPicture:
    """Structural similarity of each picture (Wang et al., 2004), a mean over channels and over whole windows.

    The window is the paper's, a Gaussian of sigma 1.5 on 11 x 11 pixels. The value is that of scikit-image with
    `gaussian_weights=True, use_sample_covariance=False, data_range=1` and of pytorch-msssim; torchmetrics and kornia
    treat the borders otherwise and differ in the third digit.

    Raises:
        ValueError: if a picture is smaller than the window.
    """
    if min(prediction.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, "
            f"got {prediction.shape[-2]} x {prediction.shape[-1]}"
        )
    x, y = prediction, target
    window = get_gaussian_kernel1d(SSIM_WINDOW, 1.5, device=x.device, dtype=x.dtype)
    moments = filter2d_separable(torch.cat((x, y, x * x, y * y, x * y)), window, window, padding="valid")
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = moments.chunk(5)
    var_x, var_y, covariance = mean_xx - mean_x**2, mean_yy - mean_y**2, mean_xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))
