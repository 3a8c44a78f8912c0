import math

import pytest
import torch

from hdr_lightning.metrics import PhotoMeans, measure


def values(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"psnr": 40 * torch.rand(n, generator=generator), "l1": torch.rand(n, generator=generator)}


def test_mean_over_photos():
    means = PhotoMeans(("psnr", "l1"))
    rows = values(7)
    means.update(rows)
    assert means.compute()["psnr"].item() == pytest.approx(rows["psnr"].double().mean().item(), rel=1e-7)
    assert means.compute()["l1"].item() == pytest.approx(rows["l1"].double().mean().item(), rel=1e-7)


def test_batching_and_order_change_nothing():
    rows = values(101)
    results = []
    for order, size in ((torch.arange(101), 101), (torch.randperm(101), 1), (torch.randperm(101), 7)):
        means = PhotoMeans(("psnr", "l1"))
        for batch in order.split(size):
            means.update({name: column[batch] for name, column in rows.items()})
        results.append({name: value.item() for name, value in means.compute().items()})
    assert results[0] == results[1] == results[2]


def test_a_photo_that_is_not_finite_is_not_averaged_away():
    means = PhotoMeans(("psnr", "l1"))
    rows = values(3)
    rows["psnr"][1] = torch.nan
    means.update(rows)
    assert math.isnan(means.compute()["psnr"])
    assert means.compute()["l1"].item() == pytest.approx(rows["l1"].mean().item())


def test_measure_clips_as_a_file_would():
    target = torch.ones(1, 3, 16, 16)
    assert measure(target + 0.5, target)["l1"].item() == 0
