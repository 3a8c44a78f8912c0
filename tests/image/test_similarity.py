import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hdr_lightning.image.similarity import ciede2000, l1, ms_ssim, psnr, ssim


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    target = np.clip(np.cumsum(rng.normal(0, 0.05, (3, 40, 52)), axis=2) + 0.5, 0, 1).astype(np.float32)
    noisy = np.clip(target + rng.normal(0, 0.05, target.shape), 0, 1).astype(np.float32)
    return torch.from_numpy(noisy)[None], torch.from_numpy(target)[None]


def channels_last(image):
    return image[0].permute(1, 2, 0).numpy()


def test_psnr_equals_scikit_image(pictures):
    expected = peak_signal_noise_ratio(*map(channels_last, reversed(pictures)), data_range=1)
    assert psnr(*pictures).item() == pytest.approx(expected, rel=1e-5)


def test_ssim_equals_scikit_image(pictures):
    expected = structural_similarity(
        *map(channels_last, pictures),
        channel_axis=2,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(*pictures).item() == pytest.approx(expected, abs=1e-5)


def test_one_number_a_picture(pictures):
    prediction, target = (torch.cat((picture, picture.flip(3), picture * 0.5)) for picture in pictures)
    for measure in (l1, psnr, ssim, ms_ssim, ciede2000):
        together = measure(prediction, target)
        alone = torch.cat([measure(prediction[n : n + 1], target[n : n + 1]) for n in range(3)])
        assert torch.allclose(together, alone, rtol=1e-5)


def test_equal_pictures(pictures):
    _, target = pictures
    assert l1(target, target).item() == 0
    assert psnr(target, target).item() == pytest.approx(100)
    assert ssim(target, target).item() == pytest.approx(1, abs=1e-6)


def test_ssim_refuses_pictures_below_its_window():
    small = torch.zeros(1, 3, 10, 40)
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 10 x 40"):
        ssim(small, small)


def test_ciede2000_equals_scikit_image(pictures):
    prediction, target = (rgb2lab(channels_last(picture)) for picture in pictures)
    assert ciede2000(*pictures).item() == pytest.approx(deltaE_ciede2000(prediction, target).mean(), abs=2e-3)


@pytest.mark.parametrize("size", [(176, 192), (301, 177)])
def test_ms_ssim_equals_pytorch_msssim(size):
    target = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    prediction = 0.7 * target + 0.3 * torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = pytorch_msssim.ms_ssim(prediction, target, data_range=1, size_average=False)
    assert ms_ssim(prediction, target).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("side", [11, 22, 64, 128, 160])
def test_ms_ssim_takes_fewer_scales_of_small_pictures(side):
    """At one scale it is SSIM; its exponents always sum to the published 1.0001."""
    target = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    prediction = 0.9 * target + 0.05
    found = ms_ssim(prediction, target).item()
    if side < 22:
        assert found == pytest.approx(ssim(prediction, target).item(), abs=1e-3)
    assert 0.9 < found < 1


def test_ms_ssim_of_inverted_pictures_is_finite_and_leads_upwards():
    target = torch.rand(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    prediction = (1 - target).requires_grad_()
    before = ms_ssim(prediction, target)
    before.sum().backward()
    assert 0 < before.item() < 0.1
    assert prediction.grad.isfinite().all()
    after = ms_ssim(prediction + 1e-2 * prediction.grad / prediction.grad.abs().max(), target)
    assert after.item() > before.item()


@pytest.mark.parametrize("measure", [ssim, ms_ssim])
def test_strips_of_a_large_picture_change_nothing(monkeypatch, measure):
    """Values and gradients are those of the whole, whose memory they do not need; rows do not divide evenly."""
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 203, 187, generator=rng)
    results = []
    for strip in (2**20, 187 * 30):
        monkeypatch.setattr("hdr_lightning.image.similarity.STRIP", strip)
        prediction = (0.8 * target + 0.05).requires_grad_()
        value = measure(prediction, target)
        value.sum().backward()
        results.append((value.detach(), prediction.grad))
    assert torch.allclose(results[0][0], results[1][0], rtol=1e-6)
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-4, atol=1e-9)
