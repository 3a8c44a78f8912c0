"""Progressive training: sizes that change with the epoch."""

import hashlib
from collections import Counter

import pytest
import torch
from conftest import TINY
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from hdr_lightning.cli import main
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.stages import Stage, Stages
from hdr_lightning.errors import InputError

STAGES = [Stage(epoch=2, crop=24, batch_size=1), Stage(epoch=4, crop=8, batch_size=4)]
SIZES = {0: (16, 2), 1: (16, 2), 2: (24, 1), 3: (24, 1), 4: (8, 4), 5: (8, 4)}
"""Crop and batch size of each epoch."""


class Recorder(LightningModule):
    """Keeps what training steps get: epoch, crop, and name and content of each sample."""

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.steps = []

    def training_step(self, pair, batch_idx):
        contents = [hashlib.sha256(source.numpy().tobytes()).hexdigest() for source in pair.source]
        names = list(zip(pair.name, contents, strict=True))
        self.steps.append((self.current_epoch, pair.source.shape[-1], names))
        return (pair.source + self.bias - pair.target).abs().mean()

    def validation_step(self, pair, batch_idx):
        self.log("val/l1", (pair.source + self.bias - pair.target).abs().mean(), batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def train(demo, tmp_path):
    """A function that trains up to an epoch and gives the steps."""

    def fit(workers, epochs, resume=False):
        recorder = Recorder()
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[ModelCheckpoint(tmp_path, save_last=True, enable_version_counter=False)],
        )
        data = PairDataModule(demo, crop=16, batch_size=2, workers=workers, stages=STAGES)
        trainer.fit(recorder, datamodule=data, ckpt_path=tmp_path / "last.ckpt" if resume else None, weights_only=True)
        return recorder.steps

    return fit


def check(steps, epochs):
    """Every photo once an epoch, in steps of the stage's size."""
    for epoch in epochs:
        crop, batch_size = SIZES[epoch]
        mine = [step for step in steps if step[0] == epoch]
        assert {step[1] for step in mine} == {crop}
        names = Counter(name for step in mine for name, _ in step[2])
        assert len(names) == 6
        assert set(names.values()) == {1}
        sizes = [len(step[2]) for step in mine]
        assert sizes == [batch_size] * (6 // batch_size) + ([6 % batch_size] if 6 % batch_size else [])


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:`isinstance", "ignore:Checkpoint dir")
@pytest.mark.parametrize(("workers", "stops"), [(0, (1, 2, 3, 4)), (2, (1, 2))])
def test_every_photo_is_seen_once_an_epoch_also_after_resuming(train, workers, stops):
    """Resuming inside a stage and on its border; the samples are those of a run without a break."""
    whole = train(workers, 6)
    check(whole, range(6))
    for stop in stops:
        assert train(workers, stop) + train(workers, 6, resume=True) == whole


def test_the_schedule_says_when_the_next_stage_begins():
    stages = Stages(128, 8, [Stage(3, 192, 4), Stage(5, 256, 2)])
    assert [(stages.at(epoch)[0].crop, stages.at(epoch)[1]) for epoch in range(7)] == [
        *[(128, 3), (128, 2), (128, 1)],
        *[(192, 2), (192, 1)],
        *[(256, 0), (256, 0)],
    ]
    assert stages.largest_crop == 256
    assert len(Stages(128, 8, [Stage(0, 192, 4)])) == 1


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([Stage(5, 64, 1), Stage(5, 96, 1)], r"begin at the epochs \[5, 5\]: expected 0 or more, each later"),
        ([Stage(-1, 64, 1)], r"begin at the epochs \[-1\]"),
        ([Stage(1, 0, 1)], "a crop and a batch_size of 1 or more, got Stage"),
    ],
)
def test_stages_that_make_no_sense_are_refused(stages, message):
    with pytest.raises(InputError, match=message):
        Stages(128, 8, stages)


def test_photos_are_checked_for_the_largest_crop_before_training(demo, tmp_path, capsys):
    words = ["fit", *TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path}"]
    with pytest.raises(SystemExit) as leave:
        main([*words, "--data.stages=[{epoch: 1, crop: 40, batch_size: 1}]"])
    assert leave.value.code == 2
    assert "48 x 32, smaller than the crop of 40" in capsys.readouterr().err
