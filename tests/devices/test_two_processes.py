"""Two processes train, save, resume and measure as one device does."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import TINY

from hdr_lightning.cli import main

SHARED = ["--data.test=3", "--data.validation=0.3", "--data.batch_size=1", "--effective_batch.samples=2"]
"""Six photos train and three, an odd number, validate."""

HARD = """
model:
  generator:
    class_path: hdr_lightning.generators.ColorRefiner
    init_args:
      backbone:
        class_path: hdr_lightning.generators.NAFNet
        init_args: {width: 4, encoder_blocks: [1], middle_blocks: 1, decoder_blocks: [1]}
      refiner:
        class_path: hdr_lightning.generators.Restormer
        init_args: {dim: 4, num_blocks: [1, 1, 1, 1], num_refinement_blocks: 1, heads: [1, 1, 2, 2]}
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 2.0e-4}}
  loss:
    class_path: hdr_lightning.losses.CompositeLoss
    init_args:
      weighting: {class_path: hdr_lightning.losses.Uncertainty}
      terms:
        l1: {class_path: hdr_lightning.losses.L1}
        attention: {class_path: hdr_lightning.losses.LuminanceAttention}
"""
"""A frozen part, and a loss that learns."""


def together(strategy, words):
    """Run a verb in two processes; as a group of their own, so that none stays behind."""
    command = [sys.executable, "-m", "hdr_lightning", *words, "--trainer.devices=2", f"--trainer.strategy={strategy}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def fit(folder, demo, *more, strategy=None):
    """Train for two epochs, and give the folder of the run."""
    words = ["fit", *TINY, f"--data.pairs={demo}", *SHARED, f"--trainer.default_root_dir={folder}"]
    words += ["--trainer.max_epochs=2", *more]
    if strategy is None:
        return main(words)
    together(strategy, words)
    (run,) = folder.iterdir()
    return run


def rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def measured(run):
    return [{name: row[name] for name in row if name.startswith("val/")} for row in rows(run) if row.get("val/psnr")]


def last(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same_state(first, second):
    """Weights, optimiser and number of steps; sums of gradients may be rounded in another order."""
    assert first["global_step"] == second["global_step"]
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][name], value, rtol=1e-5, atol=1e-6)
    (one,), (other,) = first["optimizer_states"], second["optimizer_states"]
    assert one["param_groups"] == other["param_groups"]
    assert one["state"].keys() == other["state"].keys()
    for number, state in one["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(other["state"][number][name], value, rtol=1e-4, atol=1e-7)


@pytest.fixture(scope="module")
def alone(demo, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("alone"), demo)


@pytest.fixture(scope="module")
def longer(demo, tmp_path_factory):
    """A run of four epochs on one device."""
    return fit(tmp_path_factory.mktemp("longer"), demo, "--trainer.max_epochs=4")


@pytest.fixture(scope="module")
def shares(demo, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("shares"), demo, strategy="fsdp2")


class TestShares:
    """FSDP2."""

    def test_train_as_one_device(self, alone, shares):
        assert_same_state(last(alone), last(shares))
        for one, other in zip(measured(alone), measured(shares), strict=True):
            assert {name: float(value) for name, value in other.items()} == pytest.approx(
                {name: float(value) for name, value in one.items()}, rel=1e-4
            )

    def test_one_device_goes_on(self, shares, longer, demo, tmp_path):
        more = ("--trainer.max_epochs=4", f"--ckpt_path={shares / 'checkpoints' / 'last.ckpt'}")
        assert_same_state(last(longer), last(fit(tmp_path, demo, *more)))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
class TestBoth:
    def test_train_as_one_device(self, strategy, alone, demo, tmp_path):
        assert_same_state(last(alone), last(fit(tmp_path, demo, strategy=strategy)))

    def test_go_on_from_one_device(self, strategy, alone, longer, demo, tmp_path):
        more = ("--trainer.max_epochs=4", f"--ckpt_path={alone / 'checkpoints' / 'last.ckpt'}")
        assert_same_state(last(longer), last(fit(tmp_path, demo, *more, strategy=strategy)))

    def test_a_frozen_part_and_a_loss_that_learns(self, strategy, demo, tmp_path):
        config = tmp_path / "hard.yaml"
        config.write_text(HARD)
        plain = [word for word in TINY if not word.startswith("--model")]
        words = ["fit", "--config", str(config), *plain, f"--data.pairs={demo}", *SHARED, "--trainer.max_epochs=2"]
        one = main([*words, f"--trainer.default_root_dir={tmp_path / 'one'}"])
        together(strategy, [*words, f"--trainer.default_root_dir={tmp_path / 'two'}"])
        (two,) = (tmp_path / "two").iterdir()
        assert_same_state(last(one), last(two))
        start = f"--ckpt_path={one / 'checkpoints' / 'last.ckpt'}"
        words += ["--trainer.max_epochs=3", f"--trainer.default_root_dir={tmp_path / 'more'}"]
        together(strategy, [*words, start])
        first = next((tmp_path / "more").iterdir())
        assert_same_state(last(first), last(main([*words, f"--ckpt_path={two / 'checkpoints' / 'last.ckpt'}"])))

    def test_a_part_that_is_freed_in_the_second_epoch_and_rates_by_depth(self, strategy, alone, demo, tmp_path):
        more = ["--model.freeze=[encoders]", "--model.unfreeze_epoch=1", "--model.layer_decay=0.8"]
        more += ["--ema.decay=0.9", f"--model.init_from={alone}"]
        one, two = fit(tmp_path / "one", demo, *more), fit(tmp_path / "two", demo, *more, strategy=strategy)
        assert_same_state(last(one), last(two))
        steps = {float(state["step"]) for state in last(two)["optimizer_states"][0]["state"].values()}
        assert steps == {last(two)["global_step"], last(two)["global_step"] / 2}
        start = ("--trainer.max_epochs=3", f"--ckpt_path={one / 'checkpoints' / 'last.ckpt'}")
        on = fit(tmp_path / "on", demo, *more, *start, strategy=strategy)
        assert_same_state(last(fit(tmp_path / "alone", demo, *more, *start)), last(on))

    def test_go_on_in_the_middle_of_an_epoch_of_one_device(self, strategy, longer, demo, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "reliability"))
        leave = json.dumps({"class_path": "disturbances.Leave", "init_args": {"steps": 4}})
        with pytest.raises(SystemExit) as left:
            fit(tmp_path / "one", demo, "--trainer.max_epochs=4", f"--trainer.callbacks+={leave}")
        assert left.value.code == 75
        (one,) = (tmp_path / "one").iterdir()
        start = f"--ckpt_path={one / 'checkpoints' / 'last.ckpt'}"
        two = fit(tmp_path / "two", demo, "--trainer.max_epochs=4", start, strategy=strategy)
        assert_same_state(last(longer), last(two))

    @pytest.mark.parametrize("verb", ["validate", "test"])
    def test_measure_an_odd_number_of_photos_exactly(self, strategy, verb, alone, demo, tmp_path):
        words = [verb, *TINY, f"--data.pairs={demo}", *SHARED, f"--ckpt_path={alone}"]
        one = main([*words, f"--trainer.default_root_dir={tmp_path / 'one'}"])
        together(strategy, [*words, f"--trainer.default_root_dir={tmp_path / 'two'}"])
        (two,) = (path for path in (tmp_path / "two").iterdir() if path.is_dir())
        figures = [
            {name: value for name, value in rows(run)[-1].items() if name.startswith(("val/", "test/"))}
            for run in (one, two)
        ]
        assert figures[0] == figures[1]
        assert len(figures[0]) >= 5


@pytest.mark.slow
def test_two_nodes_share_one_folder(demo, tmp_path):
    """As people start them by hand: the same command on every machine, with the number of the machine."""
    words = ["fit", *TINY, f"--data.pairs={demo}", *SHARED, f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    words += ["--trainer.max_epochs=1", "--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.strategy=ddp"]
    words += [f"--data.cache={tmp_path / 'cache'}"]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29741", "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "hdr_lightning", *words],
            env={**environment, "NODE_RANK": str(node)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(2)
    ]
    said = [node.communicate(timeout=300) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said[0][1][-2000:] + said[1][1][-2000:]
    assert [path.name for path in Path(tmp_path / "runs").iterdir()] == ["fit_0"]
    assert "best checkpoint" in said[0][0]
    assert "best checkpoint" not in said[1][0]
