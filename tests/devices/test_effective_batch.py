"""The number of samples behind a step, on any number of devices."""

from unittest.mock import Mock

import pytest
from conftest import TINY
from lightning import LightningModule, Trainer

from hdr_lightning.callbacks.effective_batch import EffectiveBatch, batches_a_step
from hdr_lightning.cli import main
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.stages import Stage
from hdr_lightning.errors import InputError


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_every_step_has_as_many_samples(devices):
    assert batches_a_step(16, 2, devices) * 2 * devices == 16


def test_what_does_not_divide_is_refused_with_what_would():
    with pytest.raises(InputError, match="16 samples a step are no multiple of 3") as caught:
        batches_a_step(16, 3, 2)
    assert "12 or 18" in str(caught.value)
    assert "data.batch_size to one of 1, 2, 4, 8" in str(caught.value)
    with pytest.raises(InputError, match="set effective_batch.samples to 20$"):
        batches_a_step(3, 5, 4)


def trainer(epoch=0, accumulate=1, world_size=2):
    data = PairDataModule(crop=64, batch_size=4, stages=[Stage(epoch=3, crop=128, batch_size=1)])
    return Mock(
        spec=Trainer,
        datamodule=data,
        world_size=world_size,
        current_epoch=epoch,
        accumulate_grad_batches=accumulate,
        strategy=None,
    )


@pytest.mark.parametrize(("epoch", "batches"), [(0, 2), (2, 2), (3, 8), (9, 8)])
@pytest.mark.parametrize("hook", ["on_train_start", "on_train_epoch_start"])
def test_each_stage_has_its_own_number_also_after_a_resume(epoch, batches, hook):
    there = trainer(epoch)
    callback = EffectiveBatch(16)
    callback.setup(there, Mock(spec=LightningModule), "fit")
    getattr(callback, hook)(there, Mock(spec=LightningModule))
    assert there.accumulate_grad_batches == batches


def test_a_stage_that_does_not_work_out_is_told_before_training():
    with pytest.raises(InputError, match="20 samples a step are no multiple of 4"):
        EffectiveBatch(20).setup(trainer(), Mock(spec=LightningModule), "fit")


def test_both_settings_are_refused(demo, tmp_path, capsys):
    words = ["fit", *TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path}"]
    with pytest.raises(SystemExit) as leave:
        main([*words, "--effective_batch.samples=4", "--trainer.accumulate_grad_batches=2"])
    assert leave.value.code == 2
    assert "give one of the two" in capsys.readouterr().err


def test_a_run_steps_once_in_so_many_batches(demo, tmp_path):
    words = ["fit", *TINY, f"--data.pairs={demo}", "--trainer.max_epochs=2", "--data.batch_size=1", "--data.test=4"]
    runs = [
        main([*words, more, f"--trainer.default_root_dir={tmp_path / str(number)}"])
        for number, more in enumerate(("--effective_batch.samples=3", "--trainer.accumulate_grad_batches=3"))
    ]
    tables = [(run / "metrics.csv").read_text().splitlines() for run in runs]
    steps = [[row for row in table if row] for table in tables]
    assert len(steps[0]) == len(steps[1])
    losses = [[row.split(",")[table[0].split(",").index("train/loss")] for row in table] for table in steps]
    assert losses[0] == losses[1]
