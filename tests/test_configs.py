"""Every configuration is complete, explains itself and trains."""

from pathlib import Path

import pytest
import yaml

from hdr_lightning.cli import main

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains_a_step(path, demo, tmp_path):
    folder = main(
        ["fit", "--config", str(path), f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path}"]
        + ["--data.test=5", "--data.crop=16", "--data.batch_size=1", "--data.workers=0"]
        + ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
        + [
            "--trainer.check_val_every_n_epoch=1",
            "--trainer.log_every_n_steps=1",
            "--trainer.accumulate_grad_batches=1",
        ]
        + ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto", "--trainer.precision=32-true"]
    )
    assert (folder / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_opens_with_its_command(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"hdr-lightning fit --config configs/{path.name}" in line for line in head)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_stands_alone(path):
    assert {"trainer", "model", "data"} <= yaml.safe_load(path.read_text()).keys()
