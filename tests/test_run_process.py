"""A signal for whoever trains several runs reaches the run at hand, which is given the time to save."""

import os
import signal
import sys
import threading
import time

import pytest

from hdr_lightning import run_process
from hdr_lightning.errors import RunInterrupted
from hdr_lightning.run_process import Run, read_course, train

SAVES = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "ready").touch()
time.sleep(60)
"""
"""What takes the place of `fit`."""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_run_saves_even_where_a_second_signal_comes(tmp_path, monkeypatch, number, code):
    monkeypatch.setattr(Run, "command", lambda run: [sys.executable, "-c", SAVES, str(tmp_path)])
    monkeypatch.setattr(run_process, "LOOK_SECONDS", 0.05)

    def interfere():
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    other = threading.Thread(target=interfere)
    other.start()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RunInterrupted) as interrupted:
        train(Run(tmp_path, "run", 0, {}), "val/psnr", lambda step, value: False, time.monotonic() + 60)
    other.join()
    assert interrupted.value.code == code
    assert (tmp_path / "saved").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_table_without_a_validation_yet_has_no_course(tmp_path):
    table = tmp_path / "metrics.csv"
    table.write_text("step,train/loss\n0,0.5\n10,0.4\n")
    assert read_course(table, "val/psnr") == []
