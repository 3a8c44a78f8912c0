"""Signals, full disks, vanished folders: what a run does while they last, and afterwards."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest
import torch
from conftest import TINY

from hdr_lightning.checkpoints import is_sound

OFTEN = ["--save_points.every_n_steps=1", '--trainer.callbacks+={"class_path": "diary.Diary"}']


@pytest.fixture
def training(forks, demo, tmp_path):
    """A function that starts a training of many short steps."""

    def start(root, *more, epochs=100, pause=0.1, **environment):
        words = ["fit", *TINY, *OFTEN, f"--data.pairs={demo}", f"--trainer.default_root_dir={root}", "--run=one"]
        words += [f"--trainer.max_epochs={epochs}", "--loss_check.pairs=0", *more]
        environment = {"DIARY": str(tmp_path / "diary"), "PAUSE": str(pause)} | environment
        return forks.start(words, tmp_path, tmp_path / "log", **environment)

    return start


@pytest.fixture
def steps(tmp_path):
    """A function that tells the number of optimiser steps that were made."""

    def made():
        path = tmp_path / "diary"
        return len(path.read_text().splitlines()) if path.exists() else 0

    return made


def saved_step(run):
    for _ in range(100):
        with suppress(FileNotFoundError):  # while the newest are renamed
            return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
        time.sleep(0.1)
    raise FileNotFoundError(run)


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGUSR1", 75), ("SIGINT", 130)])
def test_a_signal_lets_the_step_end_and_saves_it(training, steps, tmp_path, number, code):
    """Sent to the workers, too, as schedulers and terminals do."""
    process = training(tmp_path / "runs", "--data.workers=2")
    process.until(lambda: steps() >= 2)
    os.killpg(process.pid, getattr(signal, number))
    assert process.wait() == code, process.output[-3000:]
    assert f"interrupted: {number}: saved at step {steps()}" in process.output
    assert saved_step(tmp_path / "runs" / "one") == steps()


def test_a_second_ctrl_c_leaves_at_once(training, steps, tmp_path):
    process = training(tmp_path / "runs", pause=30)
    process.until(lambda: steps() >= 1)
    process.send(signal.SIGINT)
    time.sleep(0.5)  # two at once are one
    process.send(signal.SIGINT)
    assert process.wait() == 130
    assert "left at once" in process.output


def test_one_process_trains_a_run(training, steps, tmp_path):
    """A second one is refused while the first lives, and follows a killed one at once, whose workers may still live."""
    first = training(tmp_path / "runs", "--data.workers=2")
    first.until(lambda: steps() >= 2)
    second = training(tmp_path / "runs", "--data.workers=2")
    assert second.wait() == 2
    assert "one is being trained by another process" in second.output
    first.send(signal.SIGKILL)
    first.wait()
    made = steps()
    third = training(tmp_path / "runs", "--data.workers=2")
    assert third.until(lambda: steps() >= made + 2), third.output[-3000:]
    third.kill()


@pytest.fixture
def disk(tmp_path):
    """A file system of 2 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("file systems are mounted as root")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def fill(folder):
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def goes_on(process, steps, run, number=4):
    """Whether it makes steps and saves them."""
    made = steps()
    return process.until(lambda: steps() >= made + number and is_sound(run / "checkpoints" / "last.ckpt"))


def test_a_full_disk_keeps_the_checkpoints_and_the_training_goes_on(training, steps, tmp_path, disk):
    process, run = training(disk), disk / "one"
    assert goes_on(process, steps, run)
    fill(disk)
    made = steps()
    assert process.until(lambda: steps() >= made + 6), process.output[-3000:]
    assert "last.ckpt: cannot be written" in process.output
    assert "The training goes on, and the checkpoints before are as they were" in process.output
    assert all(is_sound(path) for path in run.glob("checkpoints/*.ckpt"))
    before = saved_step(run)
    assert before <= made + 1
    (disk / "ballast").unlink()
    made = steps()
    assert process.until(lambda: steps() >= made + 4), process.output[-3000:]
    assert saved_step(run) > before
    process.send(signal.SIGTERM)
    assert process.wait() == 143
    assert saved_step(run) == steps()


@pytest.fixture
def sealed():
    """A function that makes a folder one in which nothing can be made, even by root, and opens it again."""

    def seal(folder, closed=True):
        done = subprocess.run(["chattr", "+i" if closed else "-i", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"folders cannot be sealed here: {done.stderr.decode()}")
        folders.append(folder)

    folders = []
    yield seal
    for folder in folders:
        subprocess.run(["chattr", "-i", str(folder)], capture_output=True)


def test_a_folder_that_turns_read_only(training, steps, tmp_path, sealed):
    run = tmp_path / "runs" / "one"
    process = training(tmp_path / "runs")
    assert goes_on(process, steps, run)
    sealed(run / "checkpoints")
    made = steps()
    assert process.until(lambda: steps() >= made + 6), process.output[-3000:]
    assert "last.ckpt: cannot be written" in process.output
    assert "Operation not permitted" in process.output
    before = saved_step(run)
    sealed(run / "checkpoints", closed=False)
    made = steps()
    assert process.until(lambda: steps() >= made + 4), process.output[-3000:]
    assert saved_step(run) > before
    sealed(run / "checkpoints")
    process.send(signal.SIGUSR1)
    assert process.wait() == 1  # not 75: nobody is to start it again without looking
    assert "after SIGUSR1, the training could not be saved" in process.output
    assert all(is_sound(path) for path in run.glob("checkpoints/*.ckpt"))


@pytest.mark.parametrize("how", ["unmounted", "removed"])
def test_a_folder_that_vanishes(training, steps, tmp_path, disk, how):
    process, run = training(disk), disk / "one"
    assert goes_on(process, steps, run)
    if how == "unmounted":
        subprocess.run(["umount", "-l", str(disk)], check=True)
    else:
        shutil.rmtree(run)
    assert goes_on(process, steps, run), process.output[-3000:]  # in a folder made anew
    process.send(signal.SIGTERM)
    assert process.wait() == 143
    assert saved_step(run) == steps()


def test_a_read_only_folder_is_told_before_anything_starts(training, tmp_path, sealed):
    (tmp_path / "runs").mkdir()
    sealed(tmp_path / "runs")
    process = training(tmp_path / "runs")
    assert process.wait() == 2
    assert "cannot be made (Operation not permitted): set trainer.default_root_dir" in process.output
