"""What every generator promises, tested on each the moment that the package exports it."""

import pytest
import torch

from hdr_lightning import generators
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator, NAFNet, Restormer
from hdr_lightning.image.tiling import run_padded

SMALL = {
    "NAFNet": {"width": 8, "encoder_blocks": (1, 1), "middle_blocks": 1, "decoder_blocks": (1, 1)},
    "Restormer": {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
}


def build(name, **more):
    torch.manual_seed(0)
    generator = getattr(generators, name)(**SMALL[name], **more)
    with torch.no_grad():
        for parameter in generator.parameters():  # published starts hide half of a net behind zeros
            parameter.add_(0.1 * torch.randn_like(parameter))
    return generator


def test_every_generator_is_tested():
    exported = {name for name in generators.__all__ if name != "Generator"}
    assert exported == set(SMALL)
    assert all(issubclass(getattr(generators, name), Generator) for name in exported)


@pytest.mark.parametrize("name", SMALL)
class TestGenerator:
    @pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 32), (40, 64)])
    def test_any_size_through_padding(self, name, size):
        generator = build(name).eval()
        image = torch.rand(2, 3, *size)
        output = run_padded(generator, image, generator.stride)
        assert output.shape == image.shape
        assert output.isfinite().all()

    def test_gradient_reaches_every_parameter_and_the_input(self, name):
        generator = build(name)
        image = torch.rand(2, 3, 32, 32, requires_grad=True)
        generator(image).square().mean().backward()
        assert image.grad.abs().max() > 0
        for key, parameter in generator.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().max() > 0, key

    def test_pictures_of_a_batch_do_not_see_each_other(self, name):
        generator = build(name).eval()
        images = torch.rand(3, 3, 32, 32)
        alone = torch.cat([generator(image[None]) for image in images])
        assert torch.allclose(generator(images), alone, atol=1e-5)

    def test_bf16_agrees(self, name):
        generator = build(name).eval()
        image = torch.rand(1, 3, 32, 32)
        exact = generator(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = generator(image).float()
        assert (rounded - exact).norm() / (exact - image).norm() < 0.05

    def test_bf16_gradients_agree(self, name):
        """PyTorch's layer norm on a CPU in bfloat16 does not (see `layers.channel_norm`)."""
        generator = build(name)
        image = torch.rand(1, 3, 192, 192)
        expected = []
        for enabled in (False, True):
            generator.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                output = generator(image)
            output.float().square().mean().backward()
            gradients = {k: p.grad.clone() for k, p in generator.named_parameters()}
            expected = expected or gradients
        norms = [key for key in gradients if "norm" in key]
        assert norms
        for key in norms:
            error = (gradients[key] - expected[key]).norm() / expected[key].norm()
            assert error < 0.1, key

    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_flat_pictures_are_finite(self, name, value):
        image = torch.full((1, 3, 32, 32), value, requires_grad=True)
        output = build(name)(image)
        output.sum().backward()
        assert output.isfinite().all()
        assert image.grad.isfinite().all()

    def test_takes_as_many_planes_as_it_says(self, name):
        generator = build(name, in_channels=6)
        assert generator.in_channels == 6
        assert generator(torch.rand(1, 6, 32, 32)).shape == (1, 3, 32, 32)

    def test_half_precision_weights(self, name):
        generator = build(name).bfloat16()
        assert generator(torch.rand(1, 3, 32, 32, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_wrong_levels_are_refused():
    with pytest.raises(InputError, match="4 levels down .* and 3 up"):
        NAFNet(decoder_blocks=(1, 1, 1))
    with pytest.raises(InputError, match="4 levels; num_blocks gives 2"):
        Restormer(num_blocks=(1, 1))
    with pytest.raises(InputError, match="level 2 of Restormer has 20 channels, which 8 heads do not divide"):
        Restormer(dim=10, heads=(1, 8, 4, 8))
