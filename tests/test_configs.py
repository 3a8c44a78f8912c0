"""Every configuration is complete, explains itself and trains."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from hdr_lightning.cli import main
from hdr_lightning.data.rooms import write_demo_set
from hdr_lightning.generators.loading import build_generator

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


SICK = {"restormer_unified_8"}
"""Kept to show the failure."""

WIDTHS = {"Restormer": "dim=8", "NAFNet": "width=4", "DarkIR": "width=4", "RetinexFormer": "n_feat=8"}


def generator(path):
    return yaml.safe_load(path.read_text())["model"]["generator"]


WHOLE = {json.dumps(generator(path), sort_keys=True): path for path in reversed(CONFIGS)}
"""Each generator is trained at its full size once: in the first configuration that has it."""


def narrowed(path):
    """Options that make a generator narrow which another configuration trains at its full size."""
    spec, prefix = generator(path), "--model.generator.init_args."
    if WHOLE[json.dumps(spec, sort_keys=True)] == path:
        return []
    if "backbone" in spec.get("init_args", {}):
        spec, prefix = spec["init_args"]["backbone"], f"{prefix}backbone.init_args."
    return [prefix + WIDTHS[spec["class_path"].rpartition(".")[2]]]


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """Pairs that are large enough for every loss term."""
    return write_demo_set(tmp_path_factory.mktemp("demo") / "rooms", number=8, size=(64, 96), seed=7)


@pytest.mark.usefixtures("pretrained")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains_a_step(path, rooms, tmp_path, capsys, depth_model):
    """And passes the check of its loss, which `fit` starts with."""
    # A source of its own makes bad photos of good ones.
    own = isinstance(yaml.safe_load(path.read_text())["data"]["pairs"], dict)
    pairs = f"--data.pairs.photos={rooms}" if own else f"--data.pairs={rooms}"
    words = ["fit", "--config", str(path), pairs, f"--trainer.default_root_dir={tmp_path}"]
    words += ["--data.test=5", "--data.crop=64", "--data.batch_size=1", "--data.workers=0", "--loss_check.pairs=1"]
    words += ["--data.stages=[]"]
    words += ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    words += ["--trainer.check_val_every_n_epoch=1", "--trainer.log_every_n_steps=1"]
    words += ["--trainer.accumulate_grad_batches=1"]
    words += ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto"]
    words += ["--trainer.precision=32-true", "--checkpoint.save_weights_only=true", *narrowed(path)]
    if "freeze:" in path.read_text():  # what is frozen has weights from somewhere
        torch.save(build_generator(generator(path), path).state_dict(), tmp_path / "net.pth")
        words += [f"--model.init_from={tmp_path / 'net.pth'}"]
    if "depth_model" in path.read_text():
        words += [f"--model.generator.init_args.depth_model={depth_model}", f"--data.depth_folder={tmp_path / 'depth'}"]
    if path.stem in SICK:
        with pytest.raises(SystemExit) as leave:
            main(words)
        assert leave.value.code == 2
        assert 'the loss term "lab" makes 9' in capsys.readouterr().err
        words.append("--scale_guard.policy=rescale")
    folder = main(words)
    assert (folder / "checkpoints" / "best.ckpt").is_file()
    found = json.loads((folder / "loss_check.json").read_text())
    assert not found["refusals"]
    assert (folder / "loss_check.png").stat().st_size > 5000


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_opens_with_its_command_hardware_time_and_figure(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"hdr-lightning fit --config configs/{path.name}" in line for line in head)
    assert "Hardware: " in "".join(head)
    assert "Time" in "".join(head)
    assert re.search(
        "Reached|Time and score|Not yet|Earlier experiments|earlier experiments|Time: 2 minutes", "".join(head)
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_stands_alone(path):
    assert {"trainer", "model", "data"} <= yaml.safe_load(path.read_text()).keys()
