"""Steps that would harm are skipped, and only those; several in a row are rolled back."""

import math
from functools import partial
from statistics import median

import pytest
import torch
from lightning import Callback
from lightning.pytorch.plugins import MixedPrecision
from small_runs import Small, same, train, weights_of

from hdr_lightning.callbacks import EMA, GradientGuard, RollBack
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.generators import Generator
from hdr_lightning.losses import LossTerm
from hdr_lightning.schedule import WarmupCosine
from hdr_lightning.task import EnhancementTask

NAN, INF = math.nan, math.inf


def parameters(weights):
    return {name: value for name, value in weights.items() if name != "seen"}


def generator_of(state):
    return {n.removeprefix("generator."): value for n, value in state.items() if n.startswith("generator.")}


class Square(LossTerm):
    """The mean square, whose gradient grows with the weights."""

    def measure(self, prediction, target, source):
        return (prediction - target).square().mean()


class Uneven(Generator):
    """Two numbers that are added to the picture, one of them times a thousand."""

    def __init__(self):
        super().__init__()
        self.quiet, self.loud = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3))

    def forward(self, image):
        return image + (self.quiet + 1000 * self.loud)[:, None, None]


class AfterRollBack(Callback):
    """What the training holds right after the first roll-back."""

    weights = None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        (roll_back,) = (each for each in trainer.callbacks if isinstance(each, RollBack))
        (ema,) = (each for each in trainer.callbacks if isinstance(each, EMA))
        if roll_back.history and self.weights is None:
            self.weights = weights_of(pl_module)
            self.steps = {int(state["step"]) for state in trainer.optimizers[0].state.values()}
            self.rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
            self.global_step, self.updates = trainer.global_step, ema.updates


class TestSkipping:
    @pytest.mark.parametrize("factor", [NAN, INF, -INF, 1e4, 1e20])
    @pytest.mark.parametrize(
        "optimizer",
        [
            lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
            lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, fused=True),
            lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, weight_decay=0.1),
        ],
        ids=["adamw", "fused", "sgd"],
    )
    def test_a_sick_step_moves_neither_weights_nor_momentum(self, tmp_path, factor, optimizer):
        """After it the run is the one that never saw that batch."""
        trainer, _, guard, after = train(tmp_path, 12, {8: factor}, optimizer=optimizer)
        assert guard.skipped == 1
        assert guard.sound
        assert same(parameters(after[7]), parameters(after[8]))
        assert not same(parameters(after[8]), parameters(after[9]))
        count = [int(state["step"]) for state in trainer.optimizers[0].state.values() if "step" in state]
        assert set(count) <= {11}

    @pytest.mark.parametrize(("factor", "step", "skipped"), [(8.0, 8, 0), (80.0, 8, 1), (1e4, 3, 0), (NAN, 3, 1)])
    def test_the_limit_is_twenty_medians_after_the_warm_up(self, tmp_path, factor, step, skipped):
        """The gradient of L1 has nearly the same norm at each step, so that the loss's factor is the norm's."""
        assert train(tmp_path, 10, {step: factor})[2].skipped == skipped

    @pytest.mark.filterwarnings("ignore:model.freeze keeps random weights")
    def test_parts_that_are_freed_are_no_explosion(self, tmp_path):
        """Their gradient is a thousand times that of the rest, from the first step of their epoch on."""
        kind = partial(EnhancementTask, freeze=["loud"], unfreeze_epoch=1)
        optimizer = partial(torch.optim.SGD, lr=1e-9)
        guard = train(tmp_path, 8, epochs=2, generator=Uneven(), kind=kind, optimizer=optimizer)[2]
        assert guard.skipped == 0
        assert max(guard._norms) > 1

    def test_without_a_factor_only_what_is_not_finite_is_skipped(self, tmp_path):
        guard = GradientGuard(factor=0, warmup_steps=5)
        assert train(tmp_path, 10, {7: 1e6, 8: NAN}, guard=guard)[2].skipped == 1

    def test_norms_of_skipped_steps_do_not_raise_the_limit(self, tmp_path):
        _, _, guard, _ = train(tmp_path, 14, {8: 1e3, 9: 1e3, 11: 1e3})
        assert guard.skipped == 3
        assert max(guard._norms) < 10 * median(guard._norms)

    def test_the_logged_norm_is_that_of_torch(self, tmp_path):
        trainer, task, _, _ = train(tmp_path, 1, gradient_clip_val=None)
        expected = torch.cat([p.grad.flatten() for p in task.parameters()]).norm()
        assert trainer.logged_metrics["gradients/norm"] == pytest.approx(expected.item(), rel=1e-6)

    def test_a_dead_gradient_is_no_explosion(self, tmp_path):
        assert train(tmp_path, 12, dict.fromkeys(range(8), 0.0))[2].skipped == 0

    def test_accumulated_steps_count_once(self, tmp_path):
        trainer, _, guard, after = train(tmp_path, 16, {9: NAN}, accumulate_grad_batches=2)
        assert guard.skipped == 1
        assert same(parameters(after[7]), parameters(after[9]))
        assert trainer.global_step == 8

    @pytest.mark.parametrize(
        "arguments", [{"patience": 0}, {"factor": 1}, {"factor": -3}, {"warmup_steps": 0}, {"warmup_steps": 500}]
    )
    def test_numbers_out_of_range_are_refused(self, arguments):
        with pytest.raises(InputError, match=f"gradient_guard.{next(iter(arguments))} is to be"):
            GradientGuard(**arguments)


class TestHalfPrecision:
    """The scaler of float16 on the CPU, where its mathematics is the same."""

    def plugins(self, scale=1024.0):
        return [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6))]

    @pytest.mark.parametrize("fused", [False, True])
    def test_norms_are_without_its_factor(self, tmp_path, fused):
        def optimizer(parameters):
            return torch.optim.AdamW(parameters, lr=1e-2, fused=fused)

        guards = [
            train(tmp_path, 8, optimizer=optimizer, plugins=self.plugins(scale), gradient_clip_val=None)[2]
            for scale in (1.0, 1024.0)
        ]
        assert guards[0]._norms == pytest.approx(guards[1]._norms, rel=0.02)

    @pytest.mark.parametrize("fused", [False, True])
    def test_an_explosion_is_skipped(self, tmp_path, fused):
        def optimizer(parameters):
            return torch.optim.AdamW(parameters, lr=1e-2, fused=fused)

        _, _, guard, after = train(
            tmp_path, 12, {8: 50.0}, optimizer=optimizer, plugins=self.plugins(16.0), gradient_clip_val=None
        )
        assert guard.skipped == 1
        assert same(parameters(after[7]), parameters(after[8]))
        assert not same(parameters(after[8]), parameters(after[9]))

    def test_overflows_are_left_to_the_scaler(self, tmp_path):
        """Which halves its factor until it fits; the average of the weights sees none of these steps."""
        ema = EMA(0.9)
        trainer, _, guard, after = train(tmp_path, 30, plugins=self.plugins(2.0**24), ema=ema)
        assert guard.skipped == 0
        assert guard.sound
        assert same(parameters(after[0]), parameters(after[1]))
        scale = trainer.precision_plugin.scaler.get_scale()
        assert scale < 2.0**24
        assert ema.updates == 30 - math.log2(2.0**24 / scale) == len(guard._norms)

    def test_overflows_at_the_smallest_factor_count(self, tmp_path):
        """A gradient that is no number at any factor, though the loss is one."""

        class Broken(Small):
            def forward(self, image):
                out = super().forward(image)
                out.register_hook(lambda gradient: gradient * NAN)
                return out

        with pytest.raises(RunStopped, match="though no loss term, was not finite"):
            train(tmp_path, 30, plugins=self.plugins(16.0), generator=Broken(), roll_back=RollBack(times=0))


class TestRollBack:
    SICK = dict.fromkeys(range(12, 15), 1e5)

    @pytest.mark.filterwarnings("ignore:roll-back")
    def test_weights_optimiser_and_average_go_back_and_the_training_goes_on(self, tmp_path):
        trainer, _, guard, after = train(
            tmp_path, 20, self.SICK, saves={7, 9}, ema=EMA(0.9), more=[restored := AfterRollBack()]
        )
        saved = torch.load(tmp_path / "step_9.ckpt", weights_only=True)
        assert same(restored.weights, generator_of(saved["state_dict"]))
        assert restored.updates == 9
        assert restored.steps == {9}
        assert restored.global_step == 15  # steps and data go on
        assert trainer.global_step == 20
        assert restored.rates == [0.5e-2]
        assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.5e-2]
        assert trainer.logged_metrics["health/rollbacks"] == 1
        assert trainer.logged_metrics["health/rate_factor"] == 0.5
        assert guard.sound
        assert all(value.isfinite().all() for value in after[-1].values())

    @pytest.mark.filterwarnings("ignore:roll-back")
    @pytest.mark.parametrize("rate", [3.0, 4.0, 6.0])
    def test_a_training_that_explodes_in_its_warm_up_recovers(self, tmp_path, rate):
        """The rate rises over five epochs and gets too high on the way, as that of a diffusion that was lost so."""
        options = {"epochs": 8, "saves": range(20, 161, 20), "schedule": WarmupCosine(5), "gradient_clip_val": None}
        options["optimizer"] = lambda parameters: torch.optim.SGD(parameters, lr=rate)
        guard, off = (GradientGuard(patience=5, factor=factor, warmup_steps=20) for factor in (20, 0))
        trainer, *_ = train(tmp_path, 20, term=Square(ceiling=1e30), guard=guard, **options)
        assert trainer.logged_metrics["terms/sick"] < 0.09
        with pytest.raises(RunStopped, match="not finite"):  # without them it is lost
            train(tmp_path, 20, term=Square(ceiling=1e30), guard=off, roll_back=RollBack(times=0), **options)

    @pytest.mark.filterwarnings("ignore:roll-back")
    def test_the_rate_stays_lower_whatever_the_schedule(self, tmp_path):
        sick = {**dict.fromkeys(range(12, 15), NAN), **dict.fromkeys(range(25, 28), NAN)}
        trainer, *_ = train(tmp_path, 10, sick, epochs=4, saves={9})
        assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.25e-2]

    @pytest.mark.filterwarnings("ignore:roll-back")
    def test_the_fourth_time_ends_the_run_with_a_report(self, tmp_path):
        with pytest.raises(RunStopped) as stopped:
            train(tmp_path, 60, dict.fromkeys(range(20, 60), NAN), saves={9, 18})
        text = str(stopped.value)
        assert "after 3 roll-backs there are no more" in text
        for number, rate in ((1, 0.5), (2, 0.25), (3, 0.125)):
            assert f"roll-back {number}, up to step" in text
            assert f"back to step_18.ckpt, rate times {rate}: " in text
        assert 'step 20: the loss term "sick" was not finite on some rank (gradient norm nan, sick up to inf)' in text
        assert "Try `check-loss`, a lower learning rate" in text

    def test_where_nothing_was_saved_the_run_ends(self, tmp_path):
        with pytest.raises(RunStopped, match="nothing had been saved yet to go back to"):
            train(tmp_path, 20, self.SICK)

    def test_times_0_ends_the_run_at_once(self, tmp_path):
        with pytest.raises(RunStopped, match="3 steps in a row were skipped"):
            train(tmp_path, 20, self.SICK, saves={9}, roll_back=RollBack(times=0))

    def test_nothing_is_saved_while_skipped_steps_wait(self, tmp_path):
        train(tmp_path, 20, {8: NAN, 9: NAN}, saves={8, 9, 10, 11})
        assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["step_11.ckpt", "step_8.ckpt"]

    @pytest.mark.filterwarnings("ignore:roll-back")
    @pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
    def test_a_run_resumed_after_it_is_bit_equal(self, tmp_path, optimizer):
        """Norms, counts, rate and average are those of the run that was not disturbed."""

        def build(parameters):
            return getattr(torch.optim, optimizer)(parameters, lr=1e-2)

        sick = {**self.SICK, 33: 1e5, **dict.fromkeys(range(51, 54), INF)}
        options = {"epochs": 6, "saves": {9, 20, 40}, "optimizer": build}
        whole = train(tmp_path, 10, sick, ema=EMA(0.9), **options)
        again = train(tmp_path, 10, sick, ema=EMA(0.9), resume=tmp_path / "step_20.ckpt", **options)
        assert len(whole[3]) == 60
        assert len(again[3]) == 40
        assert all(same(a, b) for a, b in zip(whole[3][20:], again[3], strict=True))
        assert whole[2].state_dict() == again[2].state_dict()

    @pytest.mark.parametrize("arguments", [{"times": -1}, {"rate_factor": 0}, {"rate_factor": 1.5}])
    def test_numbers_out_of_range_are_refused(self, arguments):
        with pytest.raises(InputError, match=f"roll_back.{next(iter(arguments))} is to be"):
            RollBack(**arguments)
