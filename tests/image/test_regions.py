import numpy as np
import pytest
import torch

from hdr_lightning.image.color import luminance
from hdr_lightning.image.regions import bright_mask, changed_mask, mean_within, percentile, zones


def test_half_at_the_threshold_and_rising():
    grey = torch.tensor([0.0, 0.7, 0.75, 0.8, 1.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    mask = bright_mask(grey, threshold=0.75, softness=0.05)[0, 0, 0]
    assert torch.allclose(mask[2], torch.tensor(0.5), atol=1e-3)
    assert (mask.diff() > 0).all()
    assert mask[0] < 1e-6
    assert mask[-1] > 0.99


def test_zones_share_a_picture_out():
    image = torch.rand(2, 3, 20, 30)
    windows, shadows, midtones = zones(image)
    assert torch.allclose(windows + shadows + midtones, torch.ones_like(windows))
    assert min(each.min() for each in (windows, shadows, midtones)) >= 0
    for value, zone in ((0.95, 0), (0.05, 1), (0.5, 2)):
        assert zones(torch.full((1, 3, 2, 2), value))[zone].min() > 0.95


def test_percentile_equals_numpy_and_looks_at_large_pictures_on_a_grid():
    level = luminance(torch.rand(2, 3, 40, 50))
    expected = np.quantile(level.flatten(1).numpy(), 0.9, axis=1)
    assert percentile(level, 0.9).flatten().tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    large = torch.rand(1, 1, 1500, 1501)
    assert percentile(large, 0.25).item() == pytest.approx(0.25, abs=0.01)


def test_changed_mask():
    source, target = torch.full((1, 3, 1, 2), 0.5), torch.tensor([0.5, 0.9]).expand(1, 3, 1, 2)
    kept, changed = changed_mask(source, target)[0, 0, 0]
    assert kept < 0.01
    assert changed > 0.99


def test_mean_within_fades_out_where_the_mask_is_empty():
    values = torch.ones(1, 1, 10, 10)
    assert mean_within(values, torch.ones_like(values)).item() == pytest.approx(1, abs=0.02)
    assert mean_within(values, torch.zeros_like(values)).item() == 0
