"""What a run started from is kept with it."""

import json
import warnings

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger
from small_runs import Small

from hdr_lightning.callbacks import InitReport
from hdr_lightning.generators.weights import load_weights
from hdr_lightning.losses import L1, CompositeLoss
from hdr_lightning.task import EnhancementTask


class Recorder(Logger):
    """A dashboard that keeps what it is told."""

    name, version = "recorder", 0

    def __init__(self):
        super().__init__()
        self.told = []

    def log_hyperparams(self, values):
        self.told.append(values)

    def log_metrics(self, metrics, step=None):
        raise NotImplementedError


def trainer(folder, *loggers):
    return Trainer(
        accelerator="cpu",
        logger=[CSVLogger(folder, "", ""), *loggers],
        default_root_dir=folder,
        enable_checkpointing=False,
    )


@pytest.fixture
def task():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules are no hyper-parameters
        return EnhancementTask(Small(), CompositeLoss({"l1": L1()}))


def test_file_and_dashboard_say_what_was_loaded(task, tmp_path):
    net, recorder = task.generator, Recorder()
    torch.save(
        {"first.weight": net.first.weight.detach(), "second.weight": torch.zeros(1), "other": torch.zeros(2)},
        tmp_path / "net.pth",
    )
    task.loaded = load_weights(net, tmp_path / "net.pth", 0.1)
    InitReport().on_fit_start(trainer(tmp_path, recorder), task)
    found = json.loads((tmp_path / "init.json").read_text())
    assert found["matched"] == {"first.weight": 12}
    assert found["missing"] == {"first.bias": 4, "second.bias": 3, "seen": 1}
    assert found["unexpected"] == ["other"]
    assert found["mismatched"] == {"second.weight": {"expected": [3, 4, 1, 1], "got": [1]}}
    (told,) = recorder.told
    assert told["init"]["share"] == found["share"] == 12 / 32
    assert (told["init"]["matched"], told["init"]["tensors"]) == (1, 5)


def test_nothing_is_written_where_nothing_was_loaded(task, tmp_path):
    InitReport().on_fit_start(trainer(tmp_path), task)
    assert not list(tmp_path.iterdir())
