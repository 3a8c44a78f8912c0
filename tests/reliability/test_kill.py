"""A training that is killed, however often and whenever, ends as the undisturbed one does, to the last bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import TINY
from forks import PATHS
from reliability.test_resume import assert_equal

from hdr_lightning.checkpoints import is_sound

STEPS = 3
"""In an epoch."""


@pytest.fixture
def fit(demo, tmp_path):
    """A function that gives the command of a training, whose run is below a folder."""

    def words(root, epochs, *more):
        return [
            "fit",
            *TINY,
            f"--data.pairs={demo}",
            f"--trainer.default_root_dir={tmp_path / root}",
            f"--trainer.max_epochs={epochs}",
            "--save_points.every_n_steps=1",
            "--loss_check.pairs=0",
            '--trainer.callbacks+={"class_path": "diary.Diary"}',
            "--run=kill",
            *more,
        ]

    return words


def lines(path):
    """The optimiser steps that were made, in order, by all processes."""
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def checkpoints(run):
    return sorted((run / "checkpoints").glob("last*.ckpt"))


class Killer:
    """Starts a training again and again, and kills it at moments of its choice until it has killed often enough.

    Attributes:
        half_written: how often a checkpoint was being written.
        lost: steps that were made before a kill, and had to be made anew.
    """

    def __init__(self, forks, words, folder, seed):
        self.forks = forks
        self.words = words
        self.folder = folder
        self.run = folder / "b" / "kill"
        self.diary = folder / "diary_b"
        self.random = random.Random(seed)
        self.half_written = 0
        self.lost = []

    def finish(self, kills):
        for number in range(kills):
            made = len(lines(self.diary))
            process = self._start()
            self._wait_for_a_moment(process, made, writing=number % 2 == 0)
            code = process.kill()
            assert code == -signal.SIGKILL, process.output[-3000:]
            self._look(made)
        made = len(lines(self.diary))
        process = self._start()
        assert process.wait() == 0, process.output[-3000:]
        self._count(made)

    def _start(self):
        return self.forks.start(self.words, self.folder, self.folder / "log_b", DIARY=str(self.diary), SLOW_DISK="0.02")

    def _wait_for_a_moment(self, process, made, writing):
        more = self.random.randint(0, 3)
        process.until(lambda: len(lines(self.diary)) >= made + more)
        if writing:
            process.until(lambda: any(self.run.glob("checkpoints/.*.part")))
        else:
            time.sleep(self.random.uniform(0, 0.1))

    def _look(self, made):
        self.half_written += any(self.run.glob("checkpoints/.*.part"))
        self._count(made)
        assert all(is_sound(path) for path in checkpoints(self.run)), "a checkpoint cannot be read"

    def _count(self, made):
        steps = lines(self.diary)
        if made < len(steps):
            self.lost.append((steps[made - 1] if made else 0) + 1 - steps[made])


@pytest.mark.parametrize(("kills", "epochs"), [(3, 4), pytest.param(50, 30, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_changes_nothing(forks, fit, tmp_path, kills, epochs):
    undisturbed = fit("a", epochs)
    log = tmp_path / "log_a"
    assert forks.run(undisturbed, tmp_path, log, DIARY=str(tmp_path / "diary_a")) == 0, log.read_text()
    assert lines(tmp_path / "diary_a") == [*range(1, STEPS * epochs + 1)]
    killer = Killer(forks, fit("b", epochs), tmp_path, seed=kills)
    killer.finish(kills)
    assert_equal(tmp_path / "a" / "kill", killer.run)
    assert_best_equal(tmp_path / "a" / "kill", killer.run)
    assert not list(killer.run.rglob(".*.part"))
    # The step that was under way, and the one whose checkpoint was being written.
    assert max(killer.lost) <= 2
    assert killer.half_written >= kills // 4
    print(f"{kills} kills, {killer.half_written} of them while a checkpoint was written; steps lost: {killer.lost}")


@pytest.mark.slow
def test_a_process_of_its_own_is_killed(forks, fit, tmp_path):
    """The same without the trick of forks: as a shell starts it."""
    assert forks.run(fit("a", 4), tmp_path, tmp_path / "log", DIARY=str(tmp_path / "diary_a")) == 0
    own = {"PYTHONPATH": os.pathsep.join(map(str, PATHS)), "DIARY": str(tmp_path / "diary_b"), "PAUSE": "0.2"}
    command = [sys.executable, "-m", "hdr_lightning", *fit("b", 4)]
    for until in (4, 8):
        with subprocess.Popen(command, env=os.environ | own, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 200
            while len(lines(tmp_path / "diary_b")) < until and time.monotonic() < end:
                time.sleep(0.01)
            process.kill()
        assert process.returncode == -signal.SIGKILL
    subprocess.run(command, env=os.environ | own, cwd=tmp_path, check=True, capture_output=True)
    assert_equal(tmp_path / "a" / "kill", tmp_path / "b" / "kill")


def assert_best_equal(*runs):
    first, second = (torch.load(run / "checkpoints" / "best.ckpt", weights_only=True) for run in runs)
    assert first["global_step"] == second["global_step"]
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())
