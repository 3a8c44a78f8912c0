import pytest
import torch

from hdr_lightning import losses
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


@pytest.mark.parametrize("name", ["values", "a.b", "", "gradient_norm"])
def test_refuses_names_that_are_taken_or_none(name):
    with pytest.raises(InputError, match=f'no term may be called "{name}"'):
        CompositeLoss({name: L1()})


def test_refuses_ramps_of_no_term_and_out_of_range():
    with pytest.raises(InputError, match='no term "edge": expected one of l1'):
        CompositeLoss({"l1": L1()}, ramps={"edge": losses.Ramp(0, 1)})
    with pytest.raises(InputError, match="0 <= start <= end"):
        CompositeLoss({"l1": L1()}, ramps={"l1": losses.Ramp(9, 3)})


def test_a_ramp_is_a_line_between_two_epochs():
    ramp = losses.Ramp(start=2, end=6, first=0.2, last=1.0)
    assert [ramp.share(epoch) for epoch in (0, 2, 3, 4, 6, 60)] == pytest.approx([0.2, 0.2, 0.4, 0.6, 1, 1])


def test_uncertainty_follows_its_paper():
    """exp(-s) L + s, whose best s is log L; a term that does not count yet leaves its s alone."""
    loss = CompositeLoss({"l1": L1(), "mse": losses.MSE()}, losses.Uncertainty(), {"mse": losses.Ramp(5, 5)})
    prediction, target, source = pictures()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss(prediction, target, source).total.backward()
        optimizer.step()
    expected = L1().measure(prediction, target, source).log().item()
    assert loss.weighting.log_variances.tolist() == pytest.approx([expected, 0], abs=1e-2)


def test_normalised_divides_by_the_running_mean():
    loss = CompositeLoss({"l1": L1(), "mse": losses.MSE(weight=0.5)}, losses.Normalised(momentum=0.5))
    prediction, target, source = pictures()
    first = loss(prediction, target, source)
    assert [part.item() for part in first.parts.values()] == pytest.approx([1.0, 0.5], rel=1e-5)
    second = loss(target + 0.5 * (prediction - target), target, source)
    assert second.parts["l1"].item() == pytest.approx(0.5 / (2 / 3), rel=1e-5)  # weights 1/3 and 2/3
    loss(prediction * torch.nan, target, source)
    assert loss(prediction, target, source).total.isfinite()


def test_less_precision_leaves_the_loss_alone():
    loss = CompositeLoss({"attention": losses.LuminanceAttention()}, losses.Normalised())
    task = torch.nn.ModuleDict({"loss": loss}).bfloat16()
    assert {value.dtype for value in task.state_dict().values()} == {torch.float32}


def test_a_dropped_term_is_not_computed():
    loss = CompositeLoss({"l1": L1(), "attention": losses.LuminanceAttention()})
    loss.scales["attention"] = 0.0
    prediction, target, source = pictures()
    parts = loss(prediction, target * torch.nan, source).parts
    assert parts["attention"].item() == 0
    parts["attention"].backward()  # every parameter is used, which DDP wants
    assert all(p.grad is not None for p in loss.parameters())
