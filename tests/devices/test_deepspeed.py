"""Folders of DeepSpeed as checkpoints."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import TINY
from lightning import Trainer

from hdr_lightning.checkpoints import newest_checkpoint, save_folder
from hdr_lightning.cli import main


class Saver(Trainer):
    """Saves a folder, and may die before it is whole."""

    is_global_zero = True
    strategy = SimpleNamespace(barrier=lambda name: None)

    def __init__(self) -> None:
        self.saved, self.dies = 0, False

    def save_checkpoint(self, path, weights_only):
        (path / "checkpoint").mkdir(parents=True)
        (path / "checkpoint" / "states").write_text(str(self.saved))
        if self.dies:
            raise OSError("the disk is full")
        (path / "latest").write_text("checkpoint")
        self.saved += 1


def states(folder):
    return {path.name: (path / "checkpoint" / "states").read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_folders_stay(keep, tmp_path):
    saver, last = Saver(), tmp_path / "last.ckpt"
    for _ in range(5):
        save_folder(saver, last, keep)
    names = ["last.ckpt", "last_1.ckpt", "last_2.ckpt"][:keep]
    assert states(tmp_path) == dict(zip(names, "432", strict=False))
    assert newest_checkpoint(tmp_path) == last


def test_a_folder_that_is_not_whole_is_never_taken(tmp_path, recwarn):
    saver, last = Saver(), tmp_path / "last.ckpt"
    save_folder(saver, last, 2)
    save_folder(saver, last, 2)
    saver.dies = True
    with pytest.raises(OSError, match="full"):
        save_folder(saver, last, 2)
    assert newest_checkpoint(tmp_path) == last
    assert states(tmp_path) == {"last.ckpt": "1", "last_1.ckpt": "0"}  # and what was half written is gone
    (last / "latest").unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "last_1.ckpt"


def refused(words, capsys):
    with pytest.raises(SystemExit) as leave:
        main(words)
    assert leave.value.code == 2
    return capsys.readouterr().err


def test_a_strategy_is_told_which_checkpoints_it_reads(demo, checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hdr_lightning.training.refuse_strategy", lambda *what: None)
    words = [*TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    Saver().save_checkpoint(tmp_path / "last.ckpt", False)
    enhance = ["enhance", str(demo), f"--checkpoint={tmp_path / 'last.ckpt'}", f"--output={tmp_path / 'new'}"]
    folder = f"--ckpt_path={tmp_path / 'last.ckpt'}"
    assert "go on with deepspeed" in refused(["fit", *words, folder], capsys)
    assert "go on with deepspeed" in refused(["test", *words, folder], capsys)
    assert "make one file of it" in refused(enhance, capsys)
    words.append("--trainer.strategy=deepspeed_stage_2")
    assert "own folders alone" in refused(["fit", *words, f"--ckpt_path={checkpoint}"], capsys)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_named_run_goes_on_and_runs_no_code(stage, demo, tmp_path):
    zero = pytest.importorskip("deepspeed.utils.zero_to_fp32")
    words = [*TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path}", "--trainer.precision=bf16-mixed"]
    words += [f"--trainer.strategy=deepspeed_stage_{stage}", "--trainer.devices=1", "--loss_check.pairs=0"]

    def fit(run, epochs):
        script = Path(__file__).with_name("deepspeed_on_cpu.py")
        command = [sys.executable, script, "fit", *words, f"--run={run}", f"--trainer.max_epochs={epochs}"]
        return subprocess.run(command, capture_output=True, text=True)

    for run, epochs in (("whole", 3), ("parts", 2), ("parts", 3)):
        done = fit(run, epochs)
        assert done.returncode == 0, done.stderr
    whole, parts = (
        zero.get_fp32_state_dict_from_zero_checkpoint(tmp_path / run / "checkpoints" / "last.ckpt")
        for run in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    tables = [len((tmp_path / run / "metrics.csv").read_text().splitlines()) for run in ("whole", "parts")]
    assert tables[0] == tables[1]

    for place in (tmp_path / "parts" / "checkpoints" / "last.ckpt" / "checkpoint").iterdir():
        sound = place.read_bytes()
        torch.save(Bomb(tmp_path / "code_ran"), place)
        assert fit("parts", 4).returncode != 0
        assert not (tmp_path / "code_ran").exists()
        place.write_bytes(sound)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)
