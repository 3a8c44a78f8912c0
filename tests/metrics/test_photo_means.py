import pytest
import torch

from hdr_lightning.metrics import PhotoMeans, faults, measure


def values(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"psnr": 40 * torch.rand(n, generator=generator), "l1": torch.rand(n, generator=generator)}


def every(n):
    return torch.ones(n, dtype=torch.bool)


def test_mean_over_photos():
    means = PhotoMeans(("psnr", "l1"))
    rows = values(7)
    means.update(rows, every(7))
    found = means.compute()
    assert found.means["psnr"].item() == pytest.approx(rows["psnr"].double().mean().item(), rel=1e-7)
    assert found.means["l1"].item() == pytest.approx(rows["l1"].double().mean().item(), rel=1e-7)
    assert (found.sound, found.seen) == (7, 7)


def test_batching_and_order_change_nothing():
    rows = values(101)
    results = []
    for order, size in ((torch.arange(101), 101), (torch.randperm(101), 1), (torch.randperm(101), 7)):
        means = PhotoMeans(("psnr", "l1"))
        for batch in order.split(size):
            means.update({name: column[batch] for name, column in rows.items()}, every(len(batch)))
        results.append({name: value.item() for name, value in means.compute().means.items()})
    assert results[0] == results[1] == results[2]


def test_a_photo_that_is_broken_is_left_out_of_every_mean():
    means = PhotoMeans(("psnr", "l1"))
    rows = values(3)
    rows["psnr"][1] = torch.nan
    sound = torch.tensor([True, False, True])
    means.update(rows, sound)
    found = means.compute()
    for name in rows:
        assert found.means[name].item() == pytest.approx(rows[name][sound].double().mean().item(), rel=1e-7)
    assert (found.sound, found.seen) == (2, 3)


def test_no_sound_photo_gives_no_mean():
    means = PhotoMeans(("psnr", "l1"))
    means.update(values(3), ~every(3))
    assert means.compute() == ({}, 0, 3)


def test_a_fault_names_what_is_wrong():
    """Also what clipping would hide, and what no sum of whole numbers holds."""
    prediction = torch.zeros(4, 3, 16, 16)
    prediction[1, 0, 3, 3], prediction[1, 2, 5, 5] = torch.inf, torch.nan
    found = faults(
        prediction, {"psnr": torch.tensor([20.0, 20, torch.nan, 20]), "loss": torch.tensor([1.0, 1, 1, 1e7])}
    )
    assert found == {1: "2 of 768 values of the output are not finite", 2: "psnr is nan", 3: "loss is 1e+07"}


def test_measure_clips_as_a_file_would():
    target = torch.ones(1, 3, 16, 16)
    assert measure(target + 0.5, target)["l1"].item() == 0
