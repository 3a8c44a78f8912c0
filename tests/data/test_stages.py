"""Progressive training: sizes that change with the epoch, through the command line."""

import hashlib
from collections import Counter

import pytest
from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.data.stages import Stage, Stages
from hdr_lightning.errors import InputError
from hdr_lightning.task import EnhancementTask

STAGES = "[{epoch: 2, crop: 24, batch_size: 1}, {epoch: 4, crop: 8, batch_size: 4}]"
SIZES = {0: (16, 2), 1: (16, 2), 2: (24, 1), 3: (24, 1), 4: (8, 4), 5: (8, 4)}
"""Crop and batch size of each epoch; TINY gives those of the first two."""


@pytest.fixture
def seen(monkeypatch):
    """What training steps get: epoch, crop, batch size, and name and content of each sample."""
    steps = []
    step = EnhancementTask.training_step

    def record(task, pair, batch_idx):
        contents = [hashlib.sha256(source.numpy().tobytes()).hexdigest() for source in pair.source]
        steps.append((task.current_epoch, pair.source.shape[-1], list(zip(pair.name, contents, strict=True))))
        return step(task, pair, batch_idx)

    monkeypatch.setattr(EnhancementTask, "training_step", record)
    return steps


@pytest.fixture
def words(demo, tmp_path):
    return ["fit", *TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path}", f"--data.stages={STAGES}"]


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


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_every_photo_is_seen_once_an_epoch_also_after_resuming(words, seen, workers, stop):
    """Resuming inside a stage and on its border; the samples are those of a run without a break."""
    words = [*words, f"--data.workers={workers}", "--early_stopping.patience=99"]
    main([*words, "--trainer.max_epochs=6"])
    whole = seen.copy()
    check(whole, range(6))
    seen.clear()
    folder = main([*words, f"--trainer.max_epochs={stop}"])
    main([*words, "--trainer.max_epochs=6", f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"])
    check(seen, range(6))
    assert seen == whole


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


def test_photos_are_checked_for_the_largest_crop_before_training(words, capsys):
    with pytest.raises(SystemExit) as leave:
        main([*words, "--data.stages=[{epoch: 1, crop: 40, batch_size: 1}]"])
    assert leave.value.code == 2
    assert "48 x 32, smaller than the crop of 40" in capsys.readouterr().err
