import colorsys

import kornia
import numpy as np
import pytest
import torch
from conftest import smooth
from losses_common import real_squeezenet
from scipy.ndimage import sobel
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as torchmetrics_lpips
from torchmetrics.functional.image import total_variation

from hdr_lightning import losses
from hdr_lightning.errors import InputError
from hdr_lightning.losses import L1, Saturation, WindowL1
from hdr_lightning.losses.networks import FILES


@pytest.fixture
def three():
    """Prediction, target and source."""
    return tuple(smooth(seed) for seed in range(3))


def array(picture):
    return picture[0].permute(1, 2, 0).numpy()


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


def test_pixel_terms_equal_pytorch(three):
    prediction, target, _ = three
    F = torch.nn.functional
    assert losses.MSE().measure(*three).item() == pytest.approx(F.mse_loss(prediction, target).item())
    huber = losses.Huber(delta=0.1).measure(*three).item()
    assert huber == pytest.approx(F.huber_loss(prediction, target, delta=0.1).item() / 0.1, rel=1e-5)
    difference = (prediction - target).double()
    expected = (difference**2 + 0.01**2).sqrt() - 0.01
    assert losses.Charbonnier(eps=0.01).measure(*three).item() == pytest.approx(expected.mean().item(), rel=1e-5)


def test_charbonnier_equals_kornia(three):
    """Its form is sqrt(d^2 + 1) - 1."""
    eps = 0.1
    expected = eps * kornia.losses.charbonnier_loss(three[0] / eps, three[1] / eps, reduction="mean").item()
    assert losses.Charbonnier(eps=eps).measure(*three).item() == pytest.approx(expected, rel=1e-4)


def test_lab_terms_equal_scikit_image(three):
    first, second = (rgb2lab(array(picture)) for picture in three[:2])
    difference = np.abs(first - second)
    assert losses.Lab().measure(*three).item() == pytest.approx(difference.mean() / 100, rel=1e-3)
    assert losses.ABChannels().measure(*three).item() == pytest.approx(difference[..., 1:].mean() / 100, rel=1e-3)


def test_hsv_equals_colorsys():
    a, b = (0.9, 0.2, 0.3), (0.8, 0.7, 0.1)
    (h1, s1, v1), (h2, s2, v2) = colorsys.rgb_to_hsv(*a), colorsys.rgb_to_hsv(*b)
    pictures = [torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 4, 4) for rgb in (a, b)]
    hue = (1 - np.cos(2 * np.pi * (h1 - h2))) / 2
    expected = (hue + 2 * abs(s1 - s2) + 3 * abs(v1 - v2)) / 6
    found = losses.HSV(hue=1, saturation=2, value=3).measure(*pictures, pictures[0]).item()
    assert found == pytest.approx(expected, abs=0.02)


def test_color_direction_is_blind_to_brightness():
    bright, dark = (torch.tensor([0.8, 0.6, 0.4]).view(1, 3, 1, 1) * k for k in (1.0, 0.5))
    assert losses.ColorDirection().measure(dark, bright, bright).item() < 0.01
    red, cyan = torch.eye(3)[0].view(1, 3, 1, 1), torch.tensor([0.0, 1, 1]).view(1, 3, 1, 1)
    assert losses.ColorDirection().measure(red, cyan, cyan).item() == pytest.approx(1, abs=0.01)


def test_multi_scale_color_equals_pooling(three):
    prediction, target, _ = three
    pooled = [torch.nn.functional.avg_pool2d(prediction - target, 2**k).abs().mean().item() for k in range(3)]
    assert losses.MultiScaleColor(levels=3).measure(*three).item() == pytest.approx(sum(pooled) / 3, rel=1e-5)


def test_color_consistency_sees_the_cast_alone(three):
    _, target, source = three
    term = losses.ColorConsistency()
    assert term.measure(target + 0.1, target, source).item() == pytest.approx(0, abs=1e-6)
    assert term.measure(target.flip(3), target, source).item() == pytest.approx(0, abs=1e-6)
    cast = torch.tensor([0.3, 0.0, 0.0]).view(1, 3, 1, 1)
    assert term.measure(target + cast, target, source).item() == pytest.approx(0.2, rel=1e-4)


def test_histogram_is_blind_to_place_and_sees_brightness(three):
    _, target, source = three
    term = losses.Histogram()
    assert term.measure(target.flip(2), target, source).item() == pytest.approx(0, abs=1e-6)
    assert term.measure(0.6 * target + 0.1, 0.6 * target, source).item() == pytest.approx(0.1, rel=0.05)


def test_diversity_equals_its_formula(three):
    ab = rgb2lab(array(three[0]))[..., 1:]
    assert losses.Diversity().measure(*three).item() == pytest.approx((1 / (ab.var(axis=(0, 1)) + 1)).mean(), rel=1e-3)
    grey = torch.full((1, 3, 8, 8), 0.4)
    assert losses.Diversity().measure(grey, grey, grey).item() == pytest.approx(1)


def test_ssim_equals_scikit_image(three):
    expected = structural_similarity(
        *map(array, three[:2]), channel_axis=2, data_range=1, gaussian_weights=True, use_sample_covariance=False
    )
    assert losses.SSIM().measure(*three).item() == pytest.approx(1 - expected, abs=1e-5)


def test_sobel_edge_equals_scipy(three):
    difference = (three[0] - three[1])[0].numpy()
    expected = np.mean(
        [np.abs(sobel(each, axis=axis, mode="nearest") / 8).mean() for each in difference for axis in (0, 1)]
    )
    assert losses.SobelEdge().measure(*three).item() == pytest.approx(expected, rel=1e-4)


def test_total_variation_equals_torchmetrics():
    """Which gives the sum over both directions; of a square picture both have as many differences."""
    picture = smooth(0, size=(40, 40))
    found = losses.TotalVariation().measure(picture, picture, picture).item() * 3 * 39 * 40
    assert found == pytest.approx(total_variation(picture).item(), rel=1e-4)


def test_illumination_follows_the_light_and_not_the_colour():
    picture = smooth(0)
    term = losses.IlluminationConsistency()
    assert term.measure(0.5 * picture, picture, picture).item() == pytest.approx(
        0.5 * picture.amax(1).mean().item(), rel=0.05
    )
    assert term.measure(picture.flip(1), picture, picture).item() == pytest.approx(0, abs=1e-6)


def test_fft_amplitude_equals_numpy_and_is_blind_to_shifts(three):
    first, second = (np.abs(np.fft.fft2(each[0].numpy(), norm="ortho")) for each in three[:2])
    assert losses.FFTAmplitude().measure(*three).item() == pytest.approx(np.abs(first - second).mean(), rel=1e-4)
    assert losses.FFTAmplitude().measure(three[0].roll(5, dims=3), three[0], three[0]).item() < 1e-5


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_focal_frequency_equals_its_paper(three, alpha):
    """Equations 7 to 9, with the weights over their maximum."""
    distance = np.abs(np.fft.fft2((three[0] - three[1])[0].numpy(), norm="ortho"))
    weights = distance**alpha
    weights /= weights.max(axis=(1, 2), keepdims=True)
    expected = (weights * distance**2).mean()
    assert losses.FocalFrequency(alpha=alpha).measure(*three).item() == pytest.approx(expected, rel=1e-4)


def test_zones_count_alike_whatever_their_size():
    target = torch.full((1, 3, 40, 40), 0.5)
    target[..., :4, :4] = 0.95  # a window of one hundredth
    error = torch.zeros_like(target)
    error[..., :4, :4] = 0.2
    plain = L1().measure(target + error, target, target).item()
    found = losses.ZoneL1().measure(target + error, target, target).item()
    assert plain == pytest.approx(0.002, rel=0.01)
    assert found == pytest.approx(0.2 / 3, rel=0.1)


def test_adaptive_zones_find_windows_in_a_dark_photo():
    target = torch.full((1, 3, 40, 40), 0.1)
    target[..., :8, :8] = 0.4  # too dark for a fixed threshold
    error = torch.where(target > 0.3, 0.2, 0.0)
    fixed = losses.ZoneL1(shadows=0, midtones=0).measure(target + error, target, target).item()
    found = losses.AdaptiveZones(shadows=0, midtones=0, bright=0.97).measure(target + error, target, target).item()
    assert found > 0.09
    assert fixed < 0.05


def test_delta_aware_weighs_what_the_edit_changed():
    source = torch.full((1, 3, 2, 2), 0.2)
    target = source.clone()
    target[..., 0, :] = 0.8
    term = losses.DeltaAware(fix=4.0, preserve=1.0)
    half = torch.zeros_like(target)
    half[..., 0, :] = 0.1
    assert term.measure(target + half, target, source).item() == pytest.approx(0.2, rel=0.01)
    assert term.measure(target + half.flip(2), target, source).item() == pytest.approx(0.05, rel=0.03)


def test_bright_color_looks_at_bright_regions_alone():
    target = torch.full((1, 3, 20, 20), 0.2)
    target[..., :10, :] = 0.95
    dark, bright = torch.zeros_like(target), torch.zeros_like(target)
    dark[:, 0, 10:], bright[:, 0, :10] = 0.3, -0.3
    term = losses.BrightColor()
    assert term.measure(target + dark, target, target).item() < 1e-3
    assert term.measure(target + bright, target, target).item() > 0.05


def test_luminance_attention_learns_where_errors_are_large():
    """Errors lie in the dark half: after some steps its weights there are above those of the bright one."""
    torch.manual_seed(0)
    target = torch.full((1, 3, 16, 16), 0.1)
    target[..., 8:, :] = 0.9
    prediction = target + torch.where(target < 0.5, 0.3, 0.02)
    term = losses.LuminanceAttention()
    optimizer = torch.optim.Adam(term.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        term.measure(prediction, target, target).backward()
        optimizer.step()
    weights = term.weights(target, target)
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    assert weights[..., :8, :].mean() > 2 * weights[..., 8:, :].mean()
    assert len(losses.CompositeLoss({"attention": term}).state_dict()) == 4  # saved with the task


class TestPerceptual:
    @pytest.mark.parametrize(
        ("network", "theirs"), [("alex", "alexnet"), ("vgg", "vgg16"), ("squeeze", "squeezenet1_1")]
    )
    def test_lpips_equals_torchmetrics(self, pretrained, network, theirs, three, monkeypatch):
        import torchvision

        first, second = (torch.nn.functional.interpolate(each, size=(72, 80)) for each in three[:2])
        weights = torch.load(pretrained / FILES[theirs])
        real = getattr(torchvision.models, theirs)

        def loaded(**_):
            net = real()
            net.load_state_dict(weights, strict=False)
            return net

        monkeypatch.setattr(torchvision.models, theirs, loaded)
        expected = torchmetrics_lpips(first, second, net_type=network, normalize=True)
        found = losses.LPIPS(network).measure(first, second, second)
        assert found.item() == pytest.approx(expected.item(), rel=1e-4)

    def test_vgg_equals_torchvision(self, pretrained, three):
        """Layers count from 1 and are taken before their ReLU."""
        from torchvision.models.vgg import cfgs, make_layers
        from torchvision.transforms.functional import normalize

        net = make_layers(cfgs["E"])
        weights = torch.load(pretrained / FILES["vgg19"])
        net.load_state_dict({name.removeprefix("features."): value for name, value in weights.items()})
        found, wanted = (normalize(each, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) for each in three[:2])
        with torch.no_grad():
            deep = [net[:17](x) for x in (found, wanted)]
            shallow = [net[:6](x) for x in (found, wanted)]
        expected = torch.nn.functional.l1_loss(*deep).item()
        term = losses.VGG(relative=False)
        assert term.measure(*three).item() == pytest.approx(expected, rel=1e-4)
        relative = expected / deep[1].abs().mean().item()
        assert losses.VGG().measure(*three).item() == pytest.approx(relative, rel=1e-4)
        both = losses.VGG({"conv2_1": 1.0, "conv3_4": 3.0}, relative=False).measure(*three).item()
        assert both == pytest.approx((torch.nn.functional.l1_loss(*shallow).item() + 3 * expected) / 4, rel=1e-4)

    def test_gram_style_is_blind_to_place(self, pretrained, three):
        term = losses.GramStyle({"conv1_1": 1.0})
        prediction, target, source = three
        moved = target.roll(8, dims=3)
        assert term.measure(moved, target, source) < 0.1 * term.measure(prediction, target, source)

    def test_its_network_is_neither_trained_nor_saved(self, pretrained):
        loss = losses.CompositeLoss({"vgg": losses.VGG(), "lpips": losses.LPIPS("squeeze")})
        assert not list(loss.parameters())
        assert not loss.state_dict()

    def test_without_weights_it_says_how_to_get_them(self, three, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(losses.networks, "ORIGIN", "http://127.0.0.1:9")
        term = losses.VGG()  # a checkpoint whose loss has it enhances photos without it
        with pytest.raises(InputError, match="hdr-lightning fetch-weights --networks=.vgg19."):
            term.measure(*three)

    @pytest.mark.parametrize("content", [b"", b"hello", None])
    def test_other_files_are_refused(self, three, tmp_path, content):
        path = tmp_path / "vgg.pth"
        torch.save({"features.0.weight": torch.zeros(3)}, path) if content is None else path.write_bytes(content)
        with pytest.raises(InputError, match=r"vgg\.pth: refused, .*no weights of vgg19|not the weights of vgg19"):
            losses.VGG(weights=path).measure(*three)

    def test_unknown_layers_and_small_pictures_are_refused(self, pretrained):
        with pytest.raises(InputError, match="no layer .*conv3_5.*expected some of conv1_1"):
            losses.VGG({"conv3_5": 1.0})
        small = torch.rand(1, 3, 8, 8)
        with pytest.raises(InputError, match="LPIPS needs pictures of 31 pixels or more, got 8"):
            losses.LPIPS("alex").measure(small, small, small)

    def test_lpips_with_real_features_ranks_distortions(self, shared, tmp_path):
        """With ImageNet's features a blur is far away, and a shift by one level is not."""
        path = real_squeezenet(shared, tmp_path)
        term = losses.LPIPS("squeeze", weights=path)
        assert 0.05 < measured(term, shared, blurred) < 0.6
        assert measured(term, shared, lambda x: x + 1 / 255) < 0.01 * measured(term, shared, blurred)


def blurred(image):
    return kornia.filters.gaussian_blur2d(image, (9, 9), (2.0, 2.0))


def measured(term, shared, distort):
    from hdr_lightning.data.files import read_photo, to_tensor

    photo = sorted((shared / "brackets_val" / "target").iterdir())[0]
    image = to_tensor(read_photo(photo).pixels)[None, :, :256, :256]
    return term.measure(distort(image), image, image).item()


class TestFetchWeights:
    def test_downloads_checks_and_leaves_alone(self, tmp_path, monkeypatch, capsys):
        """From a server of this test's own."""
        import hashlib

        from hdr_lightning.cli import main

        content = b"weights" * 1000
        name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        server = tmp_path / "server"
        server.mkdir()
        (server / name).write_bytes(content)
        monkeypatch.setattr(losses.networks, "ORIGIN", server.as_uri())
        monkeypatch.setitem(losses.networks.FILES, "squeezenet1_1", name)
        words = ["fetch-weights", "--networks=[squeezenet1_1]", f"--folder={tmp_path / 'node'}"]
        (path,) = main(words)
        assert path.read_bytes() == content
        (server / name).unlink()
        assert main(words) == [path]

    def test_a_damaged_download_leaves_nothing(self, tmp_path, monkeypatch, capsys):
        from hdr_lightning.cli import main

        server = tmp_path / "server"
        server.mkdir()
        (server / FILES["alexnet"]).write_bytes(b"not what its name says")
        monkeypatch.setattr(losses.networks, "ORIGIN", server.as_uri())
        with pytest.raises(SystemExit) as leave:
            main(["fetch-weights", "--networks=[alexnet]", f"--folder={tmp_path / 'node'}"])
        assert leave.value.code == 2
        assert "cannot be fetched" in capsys.readouterr().err
        assert not list((tmp_path / "node").iterdir())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Charbonnier", {"eps": 0.0}),
        ("Huber", {"delta": 0.0}),
        ("ZoneL1", {"windows": -1.0}),
        ("ZoneL1", {"windows": 0.0, "shadows": 0.0, "midtones": 0.0}),
        ("AdaptiveZones", {"dark": 0.9, "bright": 0.5}),
        ("LuminanceAttention", {"gain": 0.5}),
        ("DeltaAware", {"threshold": 1.5}),
        ("BrightColor", {"hue": -0.1}),
        ("Lab", {"scale": 0.0}),
        ("HSV", {"hue": -1.0}),
        ("MultiScaleColor", {"levels": 0}),
        ("Histogram", {"bins": 1}),
        ("IlluminationConsistency", {"sigma": 0.0}),
        ("FocalFrequency", {"alpha": -1.0}),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(name, arguments):
    with pytest.raises(InputError, match=f"{name}: expected"):
        getattr(losses, name)(**arguments)
