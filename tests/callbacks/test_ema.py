"""The moving average of the weights: against others' averages, in checkpoints, and in what evaluates."""

import csv

import pytest
import torch
from conftest import TINY
from lightning import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from small_runs import Pairs, Small, same, train, weights_of
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from hdr_lightning.callbacks import EMA
from hdr_lightning.cli import main
from hdr_lightning.errors import InputError
from hdr_lightning.generators.loading import load_generator
from hdr_lightning.generators.weights import load_weights

NAMES = {"first.weight", "first.bias", "second.weight", "second.bias"}


def average(trainer):
    """What a checkpoint holds."""
    return trainer._checkpoint_connector.dump_checkpoint()["ema"]


def trained(state):
    return {n.removeprefix("generator."): value for n, value in state.items() if n.startswith("generator.")}


class Validated(Callback):
    """The weights with which the first photo was validated, and what a checkpoint that is saved then holds."""

    def __init__(self, path=None) -> None:
        self.path, self.weights, self.trained, self.at = path, [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.last = weights_of(pl_module)

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 0 and not trainer.sanity_checking:
            self.weights.append(weights_of(pl_module))
            self.trained.append(self.last)
            if self.path is not None:
                trainer.save_checkpoint(self.path)


def photos():
    return DataLoader(Pairs(2), batch_size=1)


class TestAverage:
    def test_it_is_the_formula_with_its_warm_up(self, tmp_path):
        """min(decay, (1 + t) / (10 + t)), as TensorFlow and diffusers have it; in float64 by hand."""
        trainer, _, _, after = train(tmp_path, 60, ema=EMA(0.5))
        for name in NAMES:
            expected = after[0][name].double()
            for t, weights in enumerate(after[1:], 1):
                decay = min(0.5, (1 + t) / (10 + t))
                expected = decay * expected + (1 - decay) * weights[name].double()
            torch.testing.assert_close(average(trainer)[name].double(), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback")
    def test_it_equals_that_of_torch_and_of_lightning(self, tmp_path):
        """At a decay below the start of the warm-up, 2 / 11."""
        witness = EMAWeightAveraging(decay=0.15)
        trainer, task, _, after = train(tmp_path, 30, ema=EMA(0.15), more=[witness])
        other = AveragedModel(Small(), multi_avg_fn=get_ema_multi_avg_fn(0.15))
        model = Small()
        for weights in after:
            model.load_state_dict(weights)
            other.update_parameters(model)
        found = average(trainer)
        assert found.keys() == NAMES
        for name in NAMES:
            torch.testing.assert_close(found[name], other.module.state_dict()[name], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found[name], task.generator.state_dict()[name], rtol=1e-5, atol=1e-6)

    def test_it_moves_once_a_step_that_changed_the_weights(self, tmp_path):
        ema = EMA(0.9)
        trainer, *_ = train(tmp_path, 20, {8: torch.nan, 12: 1e6}, ema=ema, accumulate_grad_batches=2)
        assert trainer.global_step == 10
        assert ema.updates == 10 - 2

    def test_a_late_start(self, tmp_path):
        ema = EMA(0.9, start_step=20)
        trainer, _, _, after = train(tmp_path, 20, ema=ema)
        assert ema.updates == 1
        assert all(torch.equal(average(trainer)[name], after[-1][name]) for name in NAMES)

    def test_a_start_after_the_end_is_told_and_the_trained_weights_are_used(self, tmp_path):
        seen = Validated()
        with pytest.warns(UserWarning, match="never started: the training ended at step 20, ema.start_step is 21"):
            trainer, *_ = train(tmp_path, 20, ema=EMA(0.9, start_step=21), validation=photos(), more=[seen])
        assert same(seen.weights[0], seen.trained[0])
        assert "ema" not in trainer._checkpoint_connector.dump_checkpoint()

    def test_no_decay_keeps_nothing(self, tmp_path):
        seen = Validated()
        trainer, *_ = train(tmp_path, 5, ema=EMA(), validation=photos(), more=[seen])
        assert same(seen.weights[0], seen.trained[0])
        assert "ema" not in trainer._checkpoint_connector.dump_checkpoint()

    def test_frozen_parts_and_buffers_are_not_averaged(self, tmp_path):
        ema = EMA(0.9)
        trainer, *_ = train(tmp_path, 5, ema=ema, generator=Small(frozen=True))
        assert average(trainer).keys() == {"second.weight", "second.bias"}
        assert sum(value.numel() for value in ema._averages.values()) == 15

    def test_bfloat16_is_averaged_in_float32(self, tmp_path):
        """Steps of this size would be lost in bfloat16."""

        def optimizer(parameters):
            return torch.optim.SGD(parameters, lr=1e-3)

        trainer, _, _, after = train(
            tmp_path, 30, ema=EMA(0.9), precision="bf16-true", optimizer=optimizer, gradient_clip_val=None
        )
        found = average(trainer)
        for name in NAMES:
            assert found[name].dtype == torch.float32
            expected = after[0][name].double()
            for t, weights in enumerate(after[1:], 1):
                decay = min(0.9, (1 + t) / (10 + t))
                expected = decay * expected + (1 - decay) * weights[name].double()
            torch.testing.assert_close(found[name].double(), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("arguments", [{"decay": 1.0}, {"decay": -0.1}, {"start_step": -1}])
    def test_numbers_out_of_range_are_refused(self, arguments):
        with pytest.raises(InputError, match=f"ema.{next(iter(arguments))} is to be"):
            EMA(**arguments)


class TestCheckpoint:
    def test_validation_sees_the_average_and_training_does_not(self, tmp_path):
        """Validating changes nothing: the run is the one without it."""
        seen = Validated()
        plain = train(tmp_path, 10, epochs=3, ema=EMA(0.9))[3]
        trainer, *_, after = train(tmp_path, 10, epochs=3, ema=EMA(0.9), validation=photos(), more=[seen])
        assert all(same(a, b) for a, b in zip(plain, after, strict=True))
        assert all(torch.equal(average(trainer)[name], seen.weights[-1][name]) for name in NAMES)
        assert not same(seen.weights[-1], seen.trained[-1])
        assert torch.equal(seen.weights[-1]["seen"], seen.trained[-1]["seen"])  # a buffer

    def test_one_from_the_middle_of_a_validation_holds_the_trained_weights(self, tmp_path):
        seen = Validated(tmp_path / "middle.ckpt")
        train(tmp_path, 10, ema=EMA(0.9), validation=photos(), more=[seen])
        checkpoint = torch.load(tmp_path / "middle.ckpt", weights_only=True)
        assert same(trained(checkpoint["state_dict"]), seen.trained[-1])
        assert all(torch.equal(checkpoint["ema"][name], seen.weights[-1][name]) for name in NAMES)

    def test_resuming_is_bit_equal(self, tmp_path):
        options = {"epochs": 4, "saves": {20}}
        whole, again = EMA(0.9), EMA(0.9)
        first, *_, after = train(tmp_path, 10, ema=whole, **options)
        second, *_, rest = train(tmp_path, 10, ema=again, resume=tmp_path / "step_20.ckpt", **options)
        assert all(same(a, b) for a, b in zip(after[20:], rest, strict=True))
        assert same(average(first), average(second))
        assert whole.updates == again.updates == 40

    def test_a_run_may_take_it_up_or_leave_it(self, tmp_path, caplog):
        train(tmp_path, 10, saves={10})
        path = tmp_path / "step_10.ckpt"
        late = EMA(0.9)
        train(tmp_path, 10, epochs=2, ema=late, resume=path, saves={20})
        assert late.updates == 10
        left = train(tmp_path, 10, epochs=3, resume=tmp_path / "step_20.ckpt", saves={30})[0]
        assert "ema" not in left._checkpoint_connector.dump_checkpoint()
        assert "is left behind: ema.decay is 0" in caplog.text
        anew = EMA(0.9)
        after = train(tmp_path, 10, epochs=4, ema=anew, resume=tmp_path / "step_30.ckpt")[3]
        assert anew.updates == len(after)


@pytest.fixture(scope="module")
def options(demo, tmp_path_factory):
    return [*TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path_factory.mktemp('ema')}"]


@pytest.fixture(scope="module")
def run(options):
    more = ["--ema.decay=0.95", "--model.optimizer.init_args.lr=0.01", "--model.schedule.init_args.warmup_epochs=0"]
    return main(["fit", *options, *more, "--trainer.max_epochs=3"])


@pytest.fixture(scope="module")
def plain(run):
    """The same checkpoint without its average."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    del checkpoint["ema"]
    torch.save(checkpoint, run / "plain.ckpt")
    return run / "plain.ckpt"


def logged(folder, name):
    with (folder / "metrics.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file) if row.get(name)]


class TestEvaluation:
    """Through the command line."""

    def test_validate_measures_what_fit_measured(self, options, run, plain):
        found = [main(["validate", *options, f"--ckpt_path={path}"]) for path in (run / "checkpoints/last.ckpt", plain)]
        values = [logged(each, "val/psnr")[-1] for each in (run, *found)]
        assert values[0] == values[1] != values[2]

    def test_the_generator_of_a_checkpoint_is_the_average(self, run, plain):
        checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        found = load_generator(run / "checkpoints" / "last.ckpt").state_dict()
        assert same(found, {**trained(checkpoint["state_dict"]), **checkpoint["ema"]})
        assert same(load_generator(plain).state_dict(), trained(checkpoint["state_dict"]))
        assert not same(found, load_generator(plain).state_dict())

    def test_predict_and_enhance_write_the_same_photos(self, options, run, plain, demo, tmp_path):
        photos = demo.parent / "source"
        last = run / "checkpoints" / "last.ckpt"
        folder = main(["predict", *options, f"--ckpt_path={last}", f"--data.photos={photos}"]) / "photos"
        for name, path in (("average", last), ("plain", plain)):
            main(["enhance", str(photos), "--checkpoint", str(path), "--output", str(tmp_path / name)])
        names = sorted(path.name for path in folder.glob("*.png"))
        files = [[(where / name).read_bytes() for name in names] for where in (folder, *sorted(tmp_path.iterdir()))]
        assert files[0] == files[1] != files[2]

    def test_training_starts_from_it(self, run, plain):
        averages, weights = load_generator(run / "checkpoints" / "last.ckpt"), load_generator(plain)
        load_weights(weights, run / "checkpoints" / "last.ckpt")
        assert same(weights.state_dict(), averages.state_dict())
