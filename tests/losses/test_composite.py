import pytest
import torch

from hdr_lightning.errors import InputError
from hdr_lightning.losses import L1, CompositeLoss, LossTerm, Saturation, WindowL1


class Square(LossTerm):
    """Overflows half precision, and says in which precision it was given the pictures."""

    def measure(self, prediction, target, source):
        self.seen = prediction.dtype
        return (300 * (prediction - target)).square().mean()


def pictures():
    return torch.rand(3, 2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def winner():
    return CompositeLoss({"l1": L1(), "window": WindowL1(weight=0.5), "saturation": Saturation(weight=0.3)})


def test_total_is_the_weighted_sum():
    prediction, target, source = pictures()
    loss = winner()(prediction, target, source)
    expected = (
        L1().measure(prediction, target, source)
        + 0.5 * WindowL1().measure(prediction, target, source)
        + 0.3 * Saturation().measure(prediction, target, source)
    )
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert sum(loss.parts.values()).item() == pytest.approx(loss.total.item(), rel=1e-6)
    assert list(loss.parts) == ["l1", "window", "saturation"]


def test_computes_in_float32_under_autocast():
    term = Square()
    loss = CompositeLoss({"square": term})
    prediction, target, source = (picture.bfloat16() for picture in pictures())
    with torch.autocast("cpu", torch.bfloat16):
        total = loss(prediction, target, source).total
    assert term.seen == torch.float32
    assert total.dtype == torch.float32


def test_remembers_the_peak_since_the_last_look():
    loss = winner()
    prediction, target, source = pictures()
    high = loss(prediction, target, source).parts
    loss(target * 0.99, target, source)
    assert loss.take_peaks().tolist() == pytest.approx([part.item() for part in high.values()])
    assert loss.take_peaks() is None


def test_a_broken_value_stays_in_the_peak():
    loss = winner()
    prediction, target, source = pictures()
    loss(prediction * torch.nan, target, source)
    loss(prediction, target, source)
    assert loss.take_peaks().isnan().all()


def test_evaluation_leaves_the_peaks_alone():
    loss = winner().eval()
    loss(*pictures())
    assert loss.take_peaks() is None


def test_peaks_are_no_buffer():
    """DDP would overwrite a buffer with that of the first rank."""
    loss = winner()
    loss(*pictures())
    assert not list(loss.buffers())
    assert not loss.state_dict()


def test_refuses_no_terms_and_a_taken_name():
    with pytest.raises(InputError, match="no terms"):
        CompositeLoss({})
    with pytest.raises(InputError, match='no term may be called "loss"'):
        CompositeLoss({"loss": L1()})
