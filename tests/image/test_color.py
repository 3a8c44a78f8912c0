import colorsys

import kornia
import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2gray, rgb2lab

from hdr_lightning.image.color import (
    ciede2000,
    decode_srgb,
    direction,
    encode_srgb,
    hue_direction,
    lab,
    luminance,
    saturation,
)


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


def planes(*colors):
    return torch.tensor(colors, dtype=torch.float64).t().reshape(3, 1, -1)


def test_lab_equals_scikit_image():
    image = torch.rand(3, 20, 30)
    expected = rgb2lab(image.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(lab(image).permute(1, 2, 0).numpy(), expected, atol=0.02)  # its white has four digits


def test_ciede2000_equals_scikit_image():
    first, second = (torch.rand(3, 40, 50, dtype=torch.float64) for _ in range(2))
    spread = torch.tensor([100.0, 200.0, 200.0], dtype=torch.float64).view(3, 1, 1)
    first, second = (each * spread - torch.tensor([0.0, 100.0, 100.0]).view(3, 1, 1) for each in (first, second))
    expected = deltaE_ciede2000(first.permute(1, 2, 0).numpy(), second.permute(1, 2, 0).numpy())
    np.testing.assert_allclose(ciede2000(first, second)[0].numpy(), expected, atol=1.5e-3)


SHARMA = [  # Sharma, Wu, Dalal (2005), table 1
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, 3.1571, -77.2803), (50.0, 0.0, -82.7485), 2.8615),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (56.0, -27.0, -3.0), 31.9030),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_ciede2000_equals_the_table_of_its_paper(first, second, expected):
    assert ciede2000(planes(first), planes(second)).item() == pytest.approx(expected, abs=1.5e-3)
    assert ciede2000(planes(second), planes(first)).item() == pytest.approx(expected, abs=1.5e-3)


def test_ciede2000_has_a_gradient_where_roots_have_none():
    for rgb in ((0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (-0.2, 0, 1.3)):
        image = torch.tensor(rgb).float().view(3, 1, 1).requires_grad_()
        for other in (image.detach(), torch.zeros(3, 1, 1), torch.rand(3, 1, 1)):
            ciede2000(lab(image), lab(other)).sum().backward()
            assert image.grad.isfinite().all()


def test_hue_is_within_two_degrees_of_colorsys():
    generator = torch.Generator().manual_seed(0)
    colors = torch.rand(200, 3, generator=generator).double()
    colors = colors[colors.amax(1) - colors.amin(1) > 0.2]
    first, second = colors[::2], colors[1::2]
    first = first[: len(second)]
    expected = [colorsys.rgb_to_hsv(*a)[0] - colorsys.rgb_to_hsv(*b)[0] for a, b in zip(first, second, strict=True)]
    expected = (1 - torch.tensor(expected).mul(2 * torch.pi).cos()) / 2
    planes = [hue_direction(each.t().unsqueeze(1), damping=1e-6) for each in (first, second)]
    found = (planes[0] - planes[1]).square().sum(dim=0) / 4
    # Half the cosine moves by less than half of 2.4 degrees, in radians.
    assert (found[0] - expected).abs().max() < 0.5 * np.radians(2.4)


def test_hue_does_not_jump_at_red_and_fades_out_at_grey():
    def distance(a, b):
        a, b = (hue_direction(torch.tensor(each).view(3, 1, 1)) for each in (a, b))
        return (a - b).square().sum().item() / 4

    assert distance((1.0, 0.001, 0.0), (1.0, 0.0, 0.001)) < 1e-5
    assert distance((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)) == pytest.approx(1, abs=0.01)
    assert distance((0.5, 0.501, 0.5), (0.5, 0.5, 0.502)) < 1e-3


def test_direction_equals_the_cosine_of_pytorch():
    first, second = torch.rand(2, 3, 20, 30)
    found = (direction(first, damping=1e-6) - direction(second, damping=1e-6)).square().sum(dim=0) / 2
    expected = 1 - torch.nn.functional.cosine_similarity(first, second, dim=0)
    assert torch.allclose(found, expected, atol=1e-5)
