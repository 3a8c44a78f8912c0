"""Generators around other generators keep what they promise, whatever the weights."""

import pytest
import torch

from hdr_lightning.errors import InputError
from hdr_lightning.features import extract
from hdr_lightning.generators import (
    ColorRefiner,
    FeatureGuided,
    GainConstrained,
    NAFNet,
    Restormer,
    ZeroConvCopy,
    tiles,
)
from hdr_lightning.generators.weights import load_weights
from hdr_lightning.image.color import luminance, saturation

NAF = {"width": 4, "encoder_blocks": (1,), "middle_blocks": 1, "decoder_blocks": (1,)}
REST = {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1}


def shaken(generator, size=0.3):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return generator


@pytest.fixture
def image():
    torch.manual_seed(5)
    return torch.rand(2, 3, 32, 32)


class TestGainConstrained:
    @pytest.mark.parametrize("size", [0.0, 0.3, 3.0])
    def test_windows_only_darken_and_the_rest_only_brightens(self, size, image):
        image[:, :, :16] = 0.7 + 0.3 * image[:, :, :16]
        net = GainConstrained(shaken(NAFNet(**NAF), size))
        gain = net.gain(image)
        bright = luminance(image) > 0.75
        assert 0.1 < bright.float().mean() < 0.9
        windows = gain.masked_select(bright.expand_as(gain))
        inside = gain.masked_select(~bright.expand_as(gain))
        assert windows.min() >= 0.3
        assert windows.max() <= 1
        assert inside.min() >= 1
        assert inside.max() <= 3
        assert torch.equal(net(image), image * gain)

    def test_it_can_reach_the_ends(self, image):
        net = GainConstrained(NAFNet(**NAF))
        with torch.no_grad():
            net.generator.ending.bias.fill_(10)
        assert net.gain(torch.zeros(1, 3, 16, 16)).min() > 2.99
        assert net.gain(torch.ones(1, 3, 16, 16)).max() < 0.32

    def test_black_stays_black(self):
        assert shaken(GainConstrained(NAFNet(**NAF)))(torch.zeros(1, 3, 16, 16)).abs().max() == 0

    def test_gains_out_of_range_are_refused(self):
        with pytest.raises(InputError, match="0 < darkest <= 1 <= brightest"):
            GainConstrained(NAFNet(**NAF), darkest=0)


class TestZeroConvCopy:
    @pytest.mark.parametrize(
        ("inner", "joins"),
        [(lambda: NAFNet(**NAF), ["middle_blks", "decoders.0"]), (lambda: Restormer(**REST), ["latent", "refinement"])],
    )
    def test_it_starts_as_the_locked_model_bit_for_bit_and_only_the_copy_trains(self, inner, joins, image):
        locked = shaken(inner(), 0.1).eval()
        before = {key: value.clone() for key, value in locked.state_dict().items()}
        expected = locked(image)
        net = ZeroConvCopy(locked, joins).train()
        assert torch.equal(net(image), expected)

        optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
        for _ in range(2):  # in the first step only the zeros have a gradient
            optimizer.zero_grad()
            net(image).square().mean().backward()
            optimizer.step()
        assert all(torch.equal(before[key], value) for key, value in net.locked.state_dict().items())
        assert any(not torch.equal(before[key], value) for key, value in net.copy.state_dict().items())
        assert not torch.equal(net(image), expected)

    def test_published_weights_go_into_both(self, tmp_path, image):
        published = shaken(NAFNet(**NAF))
        torch.save({"params": published.state_dict()}, tmp_path / "net.pth")
        net = ZeroConvCopy(NAFNet(**NAF), ["middle_blks"])
        load_weights(net, tmp_path / "net.pth")
        assert torch.equal(net(image), published(image))
        assert torch.equal(net.copy(image), published(image))

    def test_a_module_that_is_not_there_is_refused(self):
        with pytest.raises(InputError, match="has no blocks called 'latent': choose among encoders.0.0, encoders.0,"):
            ZeroConvCopy(NAFNet(**NAF), ["latent"])
        for inside in ("intro", "downs.0", "middle_blks.0.norm1", ""):  # run once a tile, or not by themselves
            with pytest.raises(InputError, match="choose among encoders.0.0, encoders.0,"):
                ZeroConvCopy(NAFNet(**NAF), [inside])

    def test_joined_blocks_run_in_tiles_too(self, monkeypatch):
        net = ZeroConvCopy(NAFNet(**NAF), ["encoders.0", "middle_blks.0"]).eval()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        image = torch.rand(1, 3, 72, 40)
        whole = net(image)
        monkeypatch.setattr(tiles, "CACHE", 1)
        monkeypatch.setattr(tiles, "WHOLE", 1)
        with torch.inference_mode():
            torch.testing.assert_close(net(image), whole, rtol=1e-4, atol=1e-5)

    def test_what_is_frozen_in_the_copy_stays_frozen(self):
        net = ZeroConvCopy(ColorRefiner(NAFNet(**NAF), NAFNet(**NAF)))
        copied = net.copy.named_parameters()
        trains = {name.partition(".")[0] for name, parameter in copied if parameter.requires_grad}
        assert trains == {"refiner"}


class TestColorRefiner:
    @pytest.mark.parametrize("planes", [3, 6])
    def test_only_the_refiner_trains(self, planes, image):
        net = ColorRefiner(shaken(Restormer(**REST), 0.1), shaken(NAFNet(**NAF, in_channels=planes))).train()
        assert net.stride == 8
        assert not net.backbone.training
        net(image).square().mean().backward()
        assert all(parameter.grad is None for parameter in net.backbone.parameters())
        assert all(parameter.grad is not None for parameter in net.refiner.parameters())

    def test_other_planes_are_refused(self):
        with pytest.raises(InputError, match="takes 4 planes: expected 3, or 6"):
            ColorRefiner(NAFNet(**NAF), NAFNet(**NAF, in_channels=4))


class TestFeatureGuided:
    def test_the_generator_sees_the_features(self, image):
        inner = shaken(NAFNet(**NAF, in_channels=6))
        net = FeatureGuided(inner)
        planes = extract(image, ["depth", "edge", "saturation"])
        assert torch.equal(net(image), inner(torch.cat((image, planes), dim=1)))
        expected = torch.cat((luminance(image), _sobel(image), saturation(image)), dim=1)
        assert torch.allclose(planes, expected, atol=2e-3)  # kornia adds 1e-6 under the root

    def test_the_depth_of_a_model_takes_the_place_of_the_luminance(self, image):
        inner = shaken(NAFNet(**NAF, in_channels=6))
        net = FeatureGuided(inner, ["edge", "depth", "saturation"], depth_model="a/model")
        assert net.in_channels == 4
        depth = torch.rand_like(image[:, :1])
        edge, _, colour = extract(image, ["edge", "depth", "saturation"]).split(1, dim=1)
        planes = torch.cat((image, edge, depth, colour), dim=1)
        assert torch.equal(net(torch.cat((image, depth), dim=1)), inner(planes))

    @pytest.mark.parametrize("wrap", [GainConstrained, ZeroConvCopy, lambda net: ColorRefiner(net, NAFNet(**NAF))])
    def test_generators_around_it_take_the_depth_too(self, wrap, image):
        guided = FeatureGuided(shaken(NAFNet(**NAF, in_channels=4)), ["depth"], depth_model="a/model")
        net = wrap(guided)
        assert net.in_channels == 4
        assert net.depth == guided.depth
        assert NAFNet(**NAF).depth is None
        assert net(torch.cat((image, image[:, :1]), dim=1)).shape == image.shape

    def test_a_depth_model_without_the_feature_is_refused(self):
        with pytest.raises(InputError, match="the features are edge: add depth"):
            FeatureGuided(NAFNet(**NAF, in_channels=4), ["edge"], depth_model="a/model")

    def test_published_weights_of_three_planes_start_it(self, tmp_path, image):
        published = shaken(NAFNet(**NAF))
        torch.save(published.state_dict(), tmp_path / "net.pth")
        net = FeatureGuided(NAFNet(**NAF, in_channels=4), ["depth"])
        assert load_weights(net, tmp_path / "net.pth").adapted == ["intro.weight"]
        assert torch.allclose(net(image), published(image), atol=1e-5)

    def test_another_number_of_planes_is_refused(self):
        with pytest.raises(InputError, match="takes 3 planes, RGB and 1 features are 4"):
            FeatureGuided(NAFNet(**NAF), ["depth"])


def _sobel(image):
    """From scipy, whose kernel is not normalised."""
    ndimage = pytest.importorskip("scipy.ndimage")
    planes = []
    for plane in luminance(image)[:, 0].numpy():
        x, y = (ndimage.sobel(plane, axis=axis, mode="nearest") / 8 for axis in (0, 1))
        planes.append(torch.from_numpy((x**2 + y**2) ** 0.5))
    return torch.stack(planes)[:, None]
