"""Every number against a program of others, on real photos and on a picture that is always there."""

import json
from pathlib import Path

import lpips
import numpy as np
import pytest
import pytorch_msssim
import torch
from losses_common import real_squeezenet
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation import perceptual
from hdr_lightning.evaluation.measuring import Meter, choose_measures
from hdr_lightning.evaluation.perceptual import PerceptualDistance
from hdr_lightning.image.naturalness import niqe
from hdr_lightning.losses import networks
from hdr_lightning.metrics import measure_thoroughly
from hdr_lightning.metrics.naturalness import read_natural_model

CPU = torch.device("cpu")


def textured():
    """A picture without flat regions, of whole numbers alone."""
    noise = np.random.default_rng(0).integers(0, 256, (308, 420, 3))
    return (sum(np.roll(noise, (i, j), (0, 1)) for i in range(5) for j in range(5)) // 25).astype(np.uint8)


@pytest.fixture(params=["textured", "room_0", "room_1"])
def pair(request):
    """Source and target: one that is always there, and two real ones."""
    if request.param == "textured":
        target = to_tensor(textured())[:, :200, :190]
        return (0.6 * target + 0.02 + 0.05 * target.roll(3, 2)).clamp(0, 1), target + 0.3 * (target > 0.55)
    folder = request.getfixturevalue("shared") / "brackets_val"
    row = json.loads((folder / "pairs.jsonl").read_text().splitlines()[int(request.param[-1]) * 40])
    return tuple(to_tensor(read_photo(folder / row[key]).pixels) for key in ("src", "tar"))


def last(image):
    return image.permute(1, 2, 0).double().numpy()


def numbers(pair):
    source, target = (image[None] for image in pair)
    return {name: value.item() for name, value in measure_thoroughly(source, target).items()}


def test_measures_of_whole_pictures_equal_those_of_others(pair):
    found = numbers(pair)
    source, target = map(last, pair)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = {
        "l1": np.abs(source - target).mean(),
        "psnr": peak_signal_noise_ratio(target, source, data_range=1),
        "ssim": structural_similarity(source, target, channel_axis=2, data_range=1, **options),
        "ms_ssim": pytorch_msssim.ms_ssim(pair[0][None], pair[1][None], data_range=1).item(),
        "ciede2000": deltaE_ciede2000(rgb2lab(target), rgb2lab(source)).mean(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-4), name


def test_errors_in_windows_and_elsewhere_equal_weighted_means_of_others(pair):
    found = numbers(pair)
    source, target = map(last, pair)
    luma = target @ (0.2126, 0.7152, 0.0722)
    inside = 1 / (1 + np.exp(-(luma - 0.75) / 0.05))
    difference = deltaE_ciede2000(rgb2lab(target), rgb2lab(source))
    for where, weights in (("inside", inside), ("outside", 1 - inside)):
        if weights.mean() < 0.005:
            assert np.isnan(found[f"psnr_{where}"])
            continue
        squared = np.average(((source - target) ** 2).mean(axis=2), weights=weights)
        assert found[f"psnr_{where}"] == pytest.approx(-10 * np.log10(squared), rel=1e-4)
        absolute = np.average(np.abs(source - target).mean(axis=2), weights=weights)
        assert found[f"l1_{where}"] == pytest.approx(absolute, rel=1e-4)
        assert found[f"ciede2000_{where}"] == pytest.approx(np.average(difference, weights=weights), rel=2e-4)


def test_a_photo_without_windows_has_no_error_in_them():
    dark = 0.3 * to_tensor(textured())[:, :64, :64]
    found = Meter(["psnr_inside", "psnr_outside", "psnr"], CPU)(dark * 0.9, dark).values
    assert np.isnan(found["psnr_inside"])
    assert found["psnr_outside"] == pytest.approx(found["psnr"], abs=0.1)
    bright = 0.97 + 0.03 * to_tensor(textured())[:, :64, :64]
    found = Meter(["psnr_inside", "psnr_outside"], CPU)(bright * 0.9, bright).values
    assert found["psnr_inside"] == pytest.approx(found["psnr_outside"], abs=0.1)  # of a hundredth of each pixel


@pytest.mark.parametrize(
    ("network", "size"), [("alex", (257, 290)), ("squeeze", (300, 145)), ("squeeze", (131, 270)), ("vgg", (133, 70))]
)
def test_lpips_in_tiles_equals_the_package_on_the_whole(pretrained, monkeypatch, network, size):
    target = to_tensor(textured())[None, :, : size[0], : size[1]]
    target = torch.nn.functional.interpolate(target, size=size)
    source = target.flip(3) * 0.8
    whole = PerceptualDistance(network, None, CPU)
    monkeypatch.setattr(perceptual, "TILE", 128)
    with torch.no_grad():
        expected = whole.net(source, target, normalize=True).item()
    assert isinstance(whole.net, lpips.LPIPS)
    assert whole(source, target) == pytest.approx(expected, rel=1e-5)


def test_lpips_with_real_features_equals_the_package(shared, tmp_path, pair):
    """LPIPS (SqueezeNet, converted)."""
    distance = PerceptualDistance("squeeze", real_squeezenet(shared, tmp_path), CPU)
    source, target = (image[None] for image in pair)
    with torch.no_grad():
        expected = distance.net(source, target, normalize=True).item()
    assert distance(source, target) == pytest.approx(expected, rel=1e-5)
    assert distance(target, target) == pytest.approx(0, abs=1e-7)
    assert distance(target[..., :8, :8], target[..., :8, :8]) is None


NIQE = {
    "textured": 9.22235,
    "input/empa_Cafe__m.jpg": 2.29731,
    "input/empa_FORTH4__m.jpg": 2.29845,
    "target/empa_Museum1__m.jpg": 7.99158,
    "target/empa_MontSaintMichel__m.jpg": 2.45460,
    "input/misc_WindowTrim__m.jpg": 3.08983,
}
"""What BasicSR 1.4.2 (its commit 8d56e3a, 2024) gives for `niqe(luma, ...)` in float64.

`imresize` was made to compute in float64 by replacing `FloatTensor` and `float()`, and where `img - mu` was above 1e-6
`img_nomalized` was set to 0. As it is, in float32, it gives 9.22237, 2.29719, 2.29846, 7.99264, 2.45149 and 3.08969.
"""


@pytest.mark.parametrize("name", NIQE)
def test_niqe_equals_basicsr(shared, name):
    model = read_natural_model(shared / "niqe" / "niqe_pris_params.npz")
    pixels = textured() if name == "textured" else read_photo(shared / "brackets_val" / name).pixels
    assert niqe(to_tensor(pixels)[None], model) == pytest.approx(NIQE[name], abs=2e-5)


@pytest.fixture
def parameters(tmp_path):
    """Parameters of NIQE of no natural pictures."""
    path = tmp_path / "niqe.npz"
    window = np.outer(*2 * [np.hanning(9)[1:-1]])
    np.savez(path, mu_pris_param=np.ones((1, 36)), cov_pris_param=np.eye(36), gaussian_window=window / window.sum())
    return path


def test_niqe_needs_two_patches_with_texture(parameters):
    model = read_natural_model(parameters)
    picture = to_tensor(textured())[None]
    assert niqe(picture, model) == pytest.approx(6.453046, abs=2e-5)  # by BasicSR, as above
    assert niqe(picture[..., :96, :96], model) is None
    assert niqe(picture[..., :90, :], model) is None
    flat = picture.clone()
    flat[..., 80:, :] = flat[..., :, 80:] = 0.5
    assert niqe(flat, model) is None  # one patch is left


@pytest.mark.parametrize("content", ["missing", "text", "names", "shape"])
def test_other_files_than_parameters_of_niqe_are_refused(tmp_path, content):
    path = tmp_path / "niqe.npz"
    if content == "text":
        path.write_text("hello")
    elif content != "missing":
        names = ["mu_pris_param", "cov_pris_param", "gaussian_window"] if content == "shape" else ["a"]
        np.savez(path, **dict.fromkeys(names, np.zeros(3)))
    with pytest.raises(InputError, match=r"niqe\.npz: expected"):
        read_natural_model(path)


def chosen(names=(), targets=True, weights=None, parameters=None):
    return choose_measures(names, targets, CPU, "squeeze", weights, parameters)


def test_without_weights_lpips_is_left_out_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("hdr_lightning.losses.networks.ORIGIN", "http://127.0.0.1:9")
    found = chosen()
    assert "lpips" not in found.meter.names
    assert "niqe" not in found.meter.names
    assert found.facts["LPIPS"].startswith("not measured: the weights of squeezenet1_1 are not at")
    for asked in ({"names": ["lpips"]}, {"weights": tmp_path / "none.pth"}):
        with pytest.raises(InputError, match=r"squeezenet1_1|none\.pth"):
            chosen(**asked)


def test_what_cannot_be_measured_is_refused(parameters):
    with pytest.raises(InputError, match="there is no pnsr; there are l1, psnr"):
        chosen(["pnsr"])
    with pytest.raises(InputError, match="psnr need targets, and there are none"):
        chosen(["psnr", "niqe"], targets=False, parameters=parameters)
    for names, targets in ((["niqe"], True), ([], False)):
        with pytest.raises(InputError, match="NIQE needs --niqe FILE"):
            chosen(names, targets)
    assert chosen(targets=False, parameters=parameters).meter.names == ["niqe"]
    assert chosen(["psnr", "l1"]).meter.names == ["l1", "psnr"]


def test_without_the_package_lpips_its_extra_is_named_and_no_weights_are_fetched(monkeypatch):
    monkeypatch.setattr(networks, "find_spec", lambda name: None)
    monkeypatch.setattr(networks, "_fetch", lambda *given: pytest.fail("fetched"))
    with pytest.raises(InputError, match=r"pip install 'hdr-lightning\[perceptual\]'"):
        chosen(["lpips"])
    assert "hdr-lightning[perceptual]" in chosen([]).facts["LPIPS"]


def test_pictures_that_cannot_be_measured_say_why():
    meter = Meter(["psnr"], CPU)
    target = to_tensor(textured())[:, :40, :50]
    broken = target.clone()
    broken[0, 3, 4] = torch.nan
    assert meter(broken, target).fault == "1 of 6000 values of the output are not finite"
    assert meter(target[:, :20], target).fault == "it is 50 x 20 pixels, its target 50 x 40"
    assert meter(target[:, :5], target[:, :5]).fault == "it is smaller than 11 x 11 pixels"
    assert meter(target, target).values == {"psnr": 100}


def test_the_path_of_a_file_is_no_part_of_what_is_said_of_it(parameters):
    assert chosen(["niqe"], parameters=parameters).facts == {"NIQE": f"parameters of {Path(parameters).name}"}
