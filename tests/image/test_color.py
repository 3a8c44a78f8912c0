import colorsys

import kornia
import numpy as np
import pytest
import torch
from skimage.color import rgb2gray

from hdr_lightning.image.color import decode_srgb, encode_srgb, luminance, saturation


def test_luminance_equals_scikit_image():
    """scikit-image weighs by Rec. 709 as well."""
    image = torch.rand(3, 20, 30)
    expected = rgb2gray(image.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(luminance(image)[0].numpy(), expected, atol=3e-4)  # its weights have four digits


@pytest.mark.parametrize(
    "rgb", [(0.2, 0.4, 0.9), (1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.01, 0.02, 0.005)]
)
def test_saturation_equals_colorsys(rgb):
    image = torch.tensor(rgb).view(3, 1, 1)
    assert saturation(image).item() == pytest.approx(colorsys.rgb_to_hsv(*rgb)[1], abs=1e-6)


def test_saturation_equals_kornia_above_one_step_of_8_bit():
    image = torch.rand(2, 3, 16, 16).clamp(min=1 / 255)
    assert torch.allclose(saturation(image), kornia.color.rgb_to_hsv(image)[:, 1:2], atol=1e-6)


def test_saturation_of_black_is_0_and_its_gradient_bounded():
    image = torch.zeros(1, 3, 4, 4, requires_grad=True)
    saturation(image + torch.rand(3, 1, 1) * 1e-6).sum().backward()
    assert saturation(torch.zeros(1, 3, 4, 4)).max() == 0
    assert image.grad.abs().max() <= 256


def test_srgb_equals_kornia_and_inverts():
    linear = torch.linspace(0, 1, 300).view(1, 3, 10, 10)
    assert torch.allclose(encode_srgb(linear), kornia.color.linear_rgb_to_rgb(linear), atol=1e-5)
    assert torch.allclose(decode_srgb(encode_srgb(linear)), linear, atol=1e-6)
