"""The failures that cost earlier experiments weeks, each reproduced and caught."""

import json

import pytest
import torch
from conftest import smooth
from losses_common import TERMS, make
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from hdr_lightning import losses
from hdr_lightning.errors import InputError
from hdr_lightning.losses import L1, CompositeLoss, LossTerm
from hdr_lightning.losses.check import check_loss, hard_cases, measure_terms, rescaling
from hdr_lightning.losses.composite import Seen


class PlainMSSSIM(LossTerm):
    def measure(self, prediction, target, source):
        return 1 - multiscale_structural_similarity_index_measure(
            prediction, target, data_range=1.0, normalize=None, betas=self.betas
        )

    betas = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


class PlainMSSSIMOfThreeScales(PlainMSSSIM):
    betas = (0.3, 0.4, 0.3)


class PlainHue(LossTerm):
    """The hue of HSV as a number, in turns."""

    def measure(self, prediction, target, source):
        return (self.hue(prediction) - self.hue(target)).abs().mean()

    def hue(self, image):
        red, green, blue = image.unbind(1)
        return torch.atan2(0.866 * (green - blue), red - (green + blue) / 2 + 1e-6).div(2 * torch.pi).remainder(1.0)


class LogVariance(LossTerm):
    compares = False

    def measure(self, prediction, target, source):
        return -prediction.var(dim=(2, 3)).log().mean()


class PlainDistance(LossTerm):
    """A root without an epsilon."""

    def measure(self, prediction, target, source):
        return (prediction - target).square().sum(dim=1).sqrt().mean()


class KeepSource(LossTerm):
    def measure(self, prediction, target, source):
        return (prediction - source).abs().mean()


def pairs(side=64):
    """As an untrained generator makes them: near the source, which is darker than the target."""
    target = smooth(1, size=(side, side))
    source = 0.4 * target
    return [Seen(source + 0.05 * smooth(2, size=(side, side)), target, source)]


def found(terms, side=64, **options):
    return check_loss(CompositeLoss(terms), pairs(side), **options)


def test_a_healthy_loss_passes():
    check = found({"l1": L1(), "window": losses.WindowL1(weight=0.5), "saturation": losses.Saturation(weight=0.3)})
    assert not check.refusals
    assert sum(term.share for term in check.terms) == pytest.approx(1)
    assert sum(term.gradient_share for term in check.terms) == pytest.approx(1)
    assert [term.meant for term in check.terms] == pytest.approx([1 / 1.8, 0.5 / 1.8, 0.3 / 1.8])


def test_values_gradients_and_cosines_equal_autograd():
    loss = CompositeLoss({"l1": L1(), "mse": losses.MSE(weight=2.0)})
    (pictures,) = pairs()
    measured = measure_terms(loss, pictures)
    leaf = pictures.prediction.clone().requires_grad_()
    rows = []
    for term in (L1(), losses.MSE()):
        (gradient,) = torch.autograd.grad(term.weight * term.measure(leaf, *pictures[1:]), leaf)
        rows.append(gradient.flatten())
    rows[1] = 2 * rows[1]
    assert measured.gradients.tolist() == pytest.approx([row.norm().item() for row in rows], rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(*rows, dim=0)
    assert measured.cosines[0, 1].item() == pytest.approx(cosine.item(), rel=1e-5)
    assert loss.training
    assert loss.take_peaks() is None


class TestCaught:
    def test_lab_at_its_raw_scale(self):
        check = found({"l1": L1(), "lab": losses.Lab(scale=1.0), "window": losses.WindowL1(weight=0.5)})
        refusal = " ".join(check.refusals)
        assert 'the loss term "lab" makes 9' in refusal
        assert "where its weight means 40% and 90% is the limit" in refusal
        assert "--model.loss.init_args.terms.lab.init_args" in str(check)
        assert not found({"l1": L1(), "lab": losses.Lab(), "window": losses.WindowL1(weight=0.5)}).refusals

    def test_the_weight_that_it_proposes_heals(self):
        terms = {"l1": L1(), "lab": losses.Lab(scale=1.0, ceiling=100.0)}
        check = found(terms)
        lab = check.terms[1]
        factor = rescaling(lab.value, lab.meant, check.terms[0].value, check.terms[0].meant)
        assert f"to about {factor:.2g} " in lab.failures[0]
        healed = found({"l1": L1(), "lab": losses.Lab(scale=1.0, weight=factor, ceiling=100.0)})
        assert healed.terms[1].share == pytest.approx(0.5, rel=1e-3)

    @pytest.mark.parametrize("side", [128, 176])
    def test_ms_ssim_of_small_or_inverted_pictures(self, side):
        plain = found({"l1": L1(), "ms_ssim": PlainMSSSIM()}, side=side)
        assert any('"ms_ssim" ' in refusal for refusal in plain.refusals)
        if side == 128:
            assert "cannot be computed on pictures of 128 x 128" in plain.refusals[0]
        else:
            assert "is nan on the case inverted" in " ".join(plain.refusals)
        assert not found({"l1": L1(), "ms_ssim": losses.MSSSIM()}, side=side).refusals

    def test_fewer_scales_alone_do_not_cure_it(self):
        check = found({"l1": L1(), "ms_ssim": PlainMSSSIMOfThreeScales()}, side=128)
        assert "is nan on the case inverted" in " ".join(check.refusals)

    def test_the_hue_wrap(self):
        check = found({"l1": L1(), "hue": PlainHue(weight=0.01)})  # however little it weighs
        assert 'the loss term "hue" jumps by' in " ".join(check.refusals)
        assert not found({"l1": L1(), "hsv": losses.HSV()}).refusals

    def test_minus_log_variance(self):
        check = found({"l1": L1(), "diversity": LogVariance(weight=0.01)})
        assert 'the loss term "diversity" is inf on the case' in " ".join(check.refusals)
        assert not found({"l1": L1(), "diversity": losses.Diversity(weight=0.01)}).refusals

    def test_a_root_without_an_epsilon(self):
        check = found({"l1": L1(), "distance": PlainDistance()})
        assert check.refusals[0].startswith('the loss term "distance" has a gradient of nan on the case black')
        assert check.terms[0].verdict == "fine"

    def test_terms_that_pull_apart(self):
        check = found({"l1": L1(), "keep": KeepSource()})
        assert "makes 92% of the total" in check.terms[0].warnings[0]  # near the source, the other is small
        assert not check.refusals
        assert 'pulls against "l1": cosine -' in check.terms[1].warnings[0]
        assert check.terms[1].verdict == "look"

    def test_a_term_that_does_nothing(self):
        check = found({"l1": L1(), "mse": losses.MSE(weight=1e-6)})
        assert "does next to nothing" in check.terms[1].warnings[0]

    def test_terms_that_starve_the_others_together(self):
        terms = {"l1": L1(), "lab": losses.Lab(scale=1.0, weight=0.12), "ab": losses.ABChannels(scale=1.0, weight=0.12)}
        check = found(terms)
        assert [term.starves for term in check.terms] == [False, True, True]
        assert "with 1 more 9" in check.terms[1].failures[0]

    def test_a_term_that_a_weighting_hides(self):
        """Each term over its own size is 1, whatever it does."""
        loss = CompositeLoss({"l1": L1(), "hue": PlainHue()}, weighting=losses.Normalised())
        assert "jumps by" in " ".join(check_loss(loss, pairs()).refusals)

    def test_a_ramp_that_falls(self):
        terms = {"l1": L1(), "lab": losses.Lab(scale=1.0)}
        loss = CompositeLoss(terms, ramps={"lab": losses.Ramp(0, 5, first=1.0, last=0.0)})
        loss.epoch = None
        assert check_loss(loss, pairs()).terms[1].starves

    def test_nothing_to_learn_from(self):
        assert "compares with no target" in found({"diversity": losses.Diversity()}).terms[0].warnings[0]

    def test_half_precision(self):
        """The prediction is what the run computes it in."""
        (exact,) = pairs()
        broken = exact._replace(prediction=exact.prediction * torch.inf)
        check = check_loss(CompositeLoss({"l1": L1()}), [exact], [broken], "16-mixed", torch.float16)
        assert "is not finite" in check.refusals[0]


def test_what_may_fail_passes_by_name():
    terms = {"l1": L1(), "lab": losses.Lab(scale=1.0)}
    check = found(terms, allowed=["lab"])
    assert not check.refusals
    assert check.terms[1].failures
    with pytest.raises(InputError, match='the loss has no term "labb": expected one of l1, lab'):
        found(terms, allowed=["labb"])


def test_the_table_is_saved_with_its_picture(tmp_path):
    check = found({"l1": L1(), "diversity": LogVariance()})
    check.save(tmp_path)
    content = json.loads((tmp_path / "loss_check.json").read_text())
    assert content["terms"][1]["name"] == "diversity"
    assert content["refusals"] == check.refusals
    assert (tmp_path / "loss_check.png").read_bytes().startswith(b"\x89PNG")


def test_hard_cases_are_of_the_size_of_the_pairs():
    cases = hard_cases(torch.zeros(2, 3, 20, 30))
    assert {tuple(picture.shape) for case in cases.values() for picture in case} == {(1, 3, 20, 30)}
    assert {"black", "hue wrap", "inverted", "near-flat"} <= cases.keys()


@pytest.mark.usefixtures("pretrained")
@pytest.mark.parametrize("name", TERMS)
def test_every_term_passes_as_it_comes(name):
    check = found({"l1": L1(), "other": make(name)})
    assert not check.refusals
