import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hdr_lightning.image.similarity import l1, psnr, ssim


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
    for measure in (l1, psnr, ssim):
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
