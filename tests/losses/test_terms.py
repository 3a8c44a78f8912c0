import colorsys

import pytest
import torch

from hdr_lightning.errors import InputError
from hdr_lightning.losses import L1, Saturation, WindowL1


def flat(value):
    return torch.full((1, 3, 4, 4), float(value))


def test_l1_equals_pytorch():
    a, b = torch.rand(2, 2, 3, 8, 8)
    assert torch.equal(L1().measure(a, b, a), torch.nn.functional.l1_loss(a, b))


def test_window_l1_weighs_white_by_gain_and_black_by_1():
    term = WindowL1(gain=3.0)
    assert term.measure(flat(0.1), flat(0), flat(0)).item() == pytest.approx(0.1, rel=1e-5)
    assert term.measure(flat(0.9), flat(1), flat(0)).item() == pytest.approx(0.3, rel=0.02)
    assert term.measure(flat(0.65), flat(0.75), flat(0)).item() == pytest.approx(0.2, rel=1e-4)  # half way


@pytest.mark.parametrize("arguments", [{"threshold": 1.0}, {"gain": 0.5}, {"softness": 0.0}])
def test_window_l1_refuses_what_is_out_of_range(arguments):
    with pytest.raises(InputError, match=r"expected threshold in \(0, 1\)"):
        WindowL1(**arguments)


def test_saturation_equals_colorsys():
    a, b = (0.8, 0.4, 0.2), (0.5, 0.45, 0.4)
    expected = abs(colorsys.rgb_to_hsv(*a)[1] - colorsys.rgb_to_hsv(*b)[1])
    pictures = [torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 4, 4) for rgb in (a, b)]
    assert Saturation().measure(*pictures, pictures[0]).item() == pytest.approx(expected, rel=1e-5)
