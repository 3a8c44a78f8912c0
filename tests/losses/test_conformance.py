"""What every loss term promises, tested on each the moment that the package exports it."""

import pytest
import torch
from losses_common import TERMS, make

from hdr_lightning import losses
from hdr_lightning.errors import InputError


def flat(value):
    return torch.full((2, 3, 48, 48), float(value))


def noise(seed=0):
    return torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(seed))


def color(r, g, b):
    return torch.tensor([r, g, b]).view(1, 3, 1, 1).expand(2, 3, 48, 48).contiguous()


HARD = {
    "black": (flat(0), flat(0)),
    "white": (flat(1), flat(1)),
    "grey": (flat(0.5), flat(0.5)),
    "black against white": (flat(0), flat(1)),
    "equal": (noise(), noise()),
    "anti-correlated": (1 - noise(), noise()),
    "hue wrap": (color(1.0, 0.001, 0.0), color(1.0, 0.0, 0.001)),
    "near-flat": (flat(0.5) + 1e-6 * noise(), flat(0.5)),
    "a step from black": (flat(0), flat(1 / 255)),
    "out of range": (4 * noise() - 2, noise(1)),
}


@pytest.mark.usefixtures("pretrained")
@pytest.mark.parametrize("name", TERMS)
class TestTerm:
    @pytest.mark.parametrize("case", HARD)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_value_and_gradient_are_finite_on_hard_pictures(self, name, case, dtype):
        prediction, target = (picture.to(dtype).float().clone() for picture in HARD[case])
        prediction.requires_grad_()
        value = make(name).measure(prediction, target, noise(2))
        value.backward()
        assert value.isfinite()
        assert value >= 0
        assert prediction.grad.isfinite().all()

    def test_gradient_reaches_the_prediction(self, name):
        prediction = noise(1).requires_grad_()
        make(name).measure(prediction, noise(2), noise(3)).backward()
        assert prediction.grad.abs().max() > 0

    def test_an_equal_pair_is_best(self, name):
        term = make(name)
        best = term.measure(noise(), noise(), noise(3))
        if not term.compares:
            pytest.skip("looks at the prediction alone")
        assert best.item() == pytest.approx(0, abs=1e-6)
        for seed in range(1, 6):
            assert term.measure(0.9 * noise() + 0.1 * noise(seed), noise(), noise(3)) > best

    def test_stays_below_its_ceiling_on_photos(self, name):
        term = make(name)
        assert term.weight * term.measure(noise(1), noise(2), noise(3)) < term.ceiling

    @pytest.mark.parametrize("argument", ["weight", "ceiling"])
    def test_refuses_a_weight_or_ceiling_of_zero(self, name, argument):
        with pytest.raises(InputError, match=f"{argument} is to be above 0, got 0"):
            getattr(losses, name)(**{argument: 0.0})
