import itertools

import pytest

from hdr_lightning.errors import InputError
from hdr_lightning.schedule import Constant, WarmupCosine


def test_five_epochs_of_warm_up_to_2e_4():
    rates = [2e-4 * WarmupCosine().share(epoch, 100) for epoch in range(5)]
    assert rates == pytest.approx([4e-5, 8e-5, 1.2e-4, 1.6e-4, 2e-4], rel=1e-12)


def test_then_half_a_cosine_down():
    shares = [WarmupCosine(5).share(epoch, 100) for epoch in range(4, 100)]
    assert all(a > b for a, b in itertools.pairwise(shares))
    assert WarmupCosine(5).share(52, 100) == pytest.approx(0.5)  # half way from epoch 4 to epoch 100
    assert 0 < shares[-1] < 0.001


def test_without_warm_up_and_shorter_than_its_warm_up():
    assert WarmupCosine(0).share(0, 1) == pytest.approx(0.5)
    assert [WarmupCosine(5).share(epoch, 3) for epoch in range(3)] == pytest.approx([0.2, 0.4, 0.6])


def test_constant():
    assert Constant().share(7, -1) == 1


def test_refuses_no_end_and_negative_warm_up():
    with pytest.raises(InputError, match=r"set trainer.max_epochs"):
        WarmupCosine().share(0, -1)
    with pytest.raises(InputError, match="0 or more, got -1"):
        WarmupCosine(-1)
