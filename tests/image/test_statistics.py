import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from hdr_lightning.image.statistics import gram_matrix, histogram, histogram_distance


def test_values_on_centres_count_as_in_numpy():
    values = torch.randint(0, 16, (3, 500), generator=torch.Generator().manual_seed(0)) / 15
    expected = np.stack([np.histogram(row, bins=16, range=(-1 / 30, 1 + 1 / 30))[0] / 500 for row in values.numpy()])
    np.testing.assert_allclose(histogram(values, 16).numpy(), expected, atol=1e-5)


def test_a_value_between_centres_counts_in_both():
    assert histogram(torch.tensor([[0.25]]), 3)[0].tolist() == pytest.approx([0.5, 0.5, 0])


def test_weights_count():
    found = histogram(torch.tensor([[0.0, 1.0]]), 2, torch.tensor([[3.0, 1.0]]))
    assert found[0].tolist() == pytest.approx([0.75, 0.25])
    assert histogram(torch.tensor([[0.0]]), 2, torch.tensor([[0.0]]))[0].tolist() == [0, 0]


def test_distance_equals_scipy():
    first, second = (
        torch.rand(2, 4, 1000, generator=torch.Generator().manual_seed(0)) ** torch.tensor([[1.0], [3.0]])[:, None]
    )
    found = histogram_distance(histogram(first, 256), histogram(second, 256))
    expected = [wasserstein_distance(a, b) for a, b in zip(first.numpy(), second.numpy(), strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=2e-3)


def test_a_gradient_leads_across_empty_bins():
    values = torch.full((1, 100), 0.1, requires_grad=True)
    target = histogram(torch.full((1, 100), 0.9), 64)
    histogram_distance(histogram(values, 64), target).sum().backward()
    assert (values.grad < 0).all()  # upwards


def test_gram_equals_einsum():
    features = torch.rand(2, 5, 6, 7)
    expected = np.einsum("nchw,ndhw->ncd", features.numpy(), features.numpy()) / 42
    np.testing.assert_allclose(gram_matrix(features).numpy(), expected, rtol=1e-5)


def test_counts_beyond_what_float32_can():
    values = torch.ones(1, 2**24 + 2**23)
    assert histogram(values, 4)[0].tolist() == pytest.approx([0, 0, 0, 1])
