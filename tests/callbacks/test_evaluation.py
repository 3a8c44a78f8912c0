"""Evaluation never lies: a photo that cannot be measured is named, left out, counted and shown."""

import csv
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import TINY
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from photo_tables import measured
from PIL import Image

from hdr_lightning.callbacks import MonitoredMetrics
from hdr_lightning.callbacks.previews import small
from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.errors import RunStopped

BROKEN = '''
import torch
from hdr_lightning.generators import Generator
from hdr_lightning.losses import LossTerm

class Breaks(Generator):
    """Adds a bias, and one value that is not finite to photos of these mean values."""

    def __init__(self, value: str = "nan"):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(3, 1, 1))
        self.value = float(value)

    def forward(self, image):
        made = image + self.bias
        if not self.training:
            for photo, source in zip(made, image):
                if any(abs(source.mean().item() - mean) < 1e-6 for mean in {means}):
                    photo[1, 4, 7] = self.value
        return made

class Sick(LossTerm):
    """L1 that is not a number for photos of these mean values."""

    def measure(self, prediction, target, source):
        value = (prediction - target).abs().mean()
        broken = any(abs(source.mean().item() - mean) < 1e-6 for mean in {means})
        return value * float("nan") if broken and not self.training else value
'''


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return [float(row[name]) for row in rows if row.get(name)]


@pytest.fixture
def words(demo, tmp_path, monkeypatch):
    """A function that breaks some photos, and gives the options of a run with a generator and a loss term for it."""

    def write(photos, generator="nan", term=False):
        means = [torch.from_numpy(read_photo(pair.source).pixels / np.float32(255)).mean().item() for pair in photos]
        name = f"broken_{abs(hash(tmp_path))}"
        (tmp_path / f"{name}.py").write_text(BROKEN.replace("{means}", repr(means)))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.chdir(tmp_path)
        rest = [word for word in TINY if "model.generator" not in word]
        rest += [f"--data.pairs={demo}", "--data.validation=0.7", "--trainer.max_epochs=2", "--loss_check.pairs=0"]
        rest += [f"--model.generator={name}.Breaks", f"--model.generator.init_args.value={generator}"]
        rest.append("--trainer.default_root_dir=runs/broken")
        if term:
            terms = f'{{"l1": {{"class_path": "L1"}}, "sick": {{"class_path": "{name}.Sick"}}}}'
            rest.append(f"--model.loss.init_args.terms={terms}")
        return rest

    return write


@pytest.fixture
def validated(demo):
    """The pairs that validate under the options of `words`."""
    from hdr_lightning.data.splits import split_pairs

    return list(split_pairs(read_pairs(demo), 5, 0.7, 0).validation)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_photo_whose_output_breaks_is_named_left_out_and_shown(words, validated, value):
    options = words(validated[1:2], value)
    with pytest.warns(UserWarning, match=r"val: 4/5 photos, left out of every mean: (\S+): 1 of 4608 values") as told:
        folder = main(["fit", *options])
    assert any(validated[1].name in str(each.message) for each in told)
    rows = table(folder / "metrics.csv")
    assert column(rows, "val/valid_photos") == [4, 4]
    for name in ("val/l1", "val/psnr", "val/ssim", "val/ciede2000", "val/loss"):
        assert np.isfinite(column(rows, name)).all()
        assert len(column(rows, name)) == 2
    with Image.open(folder / "pictures" / "epoch_0001_broken.jpg") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert (np.abs(pixels - [255, 0, 255]).sum(axis=2) < 150).any()
    assert (folder / "checkpoints" / "best.ckpt").is_file()


def test_the_means_are_those_of_the_other_photos(words, validated):
    options = words(validated[2:3])
    with pytest.warns(UserWarning, match="4/5 photos"):
        broken = main(["fit", *options, "--trainer.max_epochs=1", "--model.optimizer.init_args.lr=0"])
    logged = table(broken / "metrics.csv")
    sound = [pair for pair in validated if pair != validated[2]]
    errors = [np.abs(read_photo(p.source).pixels / 255 - read_photo(p.target).pixels / 255).mean() for p in sound]
    assert column(logged, "val/l1")[-1] == pytest.approx(np.mean(errors), rel=1e-5)


def test_a_photo_whose_loss_breaks_is_left_out_by_the_name_of_the_term(words, validated):
    options = words(validated[:1], generator="0.5", term=True)
    with pytest.warns(UserWarning, match=r'4/5 photos.*the loss term "sick" is nan'):
        folder = main(["fit", *options])
    assert np.isfinite(column(table(folder / "metrics.csv"), "val/loss")).all()


def test_no_sound_photo_ends_the_run_and_leaves_no_checkpoint(words, validated, capsys):
    with pytest.raises(SystemExit) as leave:
        main(["fit", *words(validated)])
    assert leave.value.code == 1
    err = capsys.readouterr().err
    assert "none of 5 photos could be evaluated" in err
    assert all(pair.name in err for pair in validated)
    assert not list(validated[0].source.parents[1].rglob("*.ckpt"))


def test_two_broken_photos_at_the_start_do_not_end_it(words, validated):
    """The few that are validated before the first step say nothing about the others."""
    with pytest.warns(UserWarning, match="3/5 photos"):
        main(["fit", *words(validated[:2])])


def test_a_test_leaves_it_out_and_says_so(words, demo, capsys):
    held_out = list(read_pairs(demo)[:5])
    options = words(held_out[3:4])
    run = main(["fit", *options])
    with pytest.warns(UserWarning, match="test: 4/5 photos"):
        folder = main(["test", *options, f"--ckpt_path={run}"])
    rows = {row["photo"]: row for row in measured(folder)}
    assert len(rows) == 5
    broken = rows.pop(held_out[3].name)
    assert broken["fault"] == "1 of 4608 values of the output are not finite"
    assert broken["psnr"] == ""
    assert all(row["fault"] == "" for row in rows.values())
    logged = table(folder / "metrics.csv")[-1]
    assert float(logged["test/valid_photos"]) == 4
    for name in ("psnr", "untouched_psnr"):
        key = f"test/{name.replace('_', '/')}"
        assert float(logged[key]) == pytest.approx(np.mean([float(row[name]) for row in rows.values()]), rel=1e-5)
    out = capsys.readouterr().out
    assert re.search(r"4/5 photos +untouched", out)
    page = (folder / "report.html").read_text()
    assert "Left out of every mean" in page
    shown = re.sub(r"<script.*|<details.*</details>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", shown.lower())


def test_a_test_without_a_sound_photo_leaves_its_report(words, demo, capsys):
    options = words(list(read_pairs(demo)[:5]))
    run = main(["fit", *options])
    with pytest.raises(SystemExit) as leave:
        main(["test", *options, f"--ckpt_path={run}"])
    assert leave.value.code == 1
    assert "none of 5 photos could be evaluated" in capsys.readouterr().err
    assert len(measured(run.parent / "test_0")) == 5


def test_two_processes_count_and_name_as_one(words, validated, tmp_path):
    """Five photos on two ranks: three on one, two on the other, a broken one on each."""
    command = [sys.executable, "-m", "hdr_lightning", "fit", *words(validated[1:3])]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=1"]
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "val: 3/5 photos, left out of every mean" in done.stderr
    assert all(pair.name in done.stderr for pair in validated[1:3])
    (log,) = tmp_path.rglob("metrics.csv")
    assert column(table(log), "val/valid_photos") == [3, 3]


def test_small_pictures_still_show_one_broken_pixel():
    picture = torch.full((3, 400, 600), 0.5)
    picture[0, 123, 321] = torch.nan
    sheet = np.asarray(small(picture, height=20))
    assert (sheet == [255, 0, 255]).all(axis=2).sum() == 25


@pytest.mark.parametrize("key", ["checkpoint", "early_stopping"])
def test_a_metric_that_is_not_there_ends_the_run_before_it_trains(demo, tmp_path, monkeypatch, capsys, key):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leave:
        main(["fit", *TINY, f"--data.pairs={demo}", f"--{key}.monitor=val/lpips", "--trainer.max_epochs=1"])
    assert leave.value.code == 1
    assert (
        f"{key}.monitor is val/lpips, which is not measured: set it to one of val/ciede2000" in capsys.readouterr().err
    )


class Diverging(BoringModel):
    """Logs what it makes of a validation."""

    def validation_step(self, batch, batch_idx):
        self.log("val/psnr", torch.tensor(torch.nan if self.current_epoch else 20.0))


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec")
def test_a_metric_that_is_not_finite_ends_the_run(tmp_path):
    saver = ModelCheckpoint(tmp_path, monitor="val/psnr")
    trainer = Trainer(
        max_epochs=3,
        limit_train_batches=1,
        limit_val_batches=1,
        accelerator="cpu",
        logger=False,
        callbacks=[MonitoredMetrics(), saver],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(RunStopped, match=r"checkpoint\.monitor is val/psnr, which is nan in epoch 1"):
        trainer.fit(Diverging())
    assert [path.name for path in tmp_path.iterdir()] == ["epoch=0-step=1.ckpt"]
