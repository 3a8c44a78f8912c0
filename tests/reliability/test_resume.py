"""A run that is interrupted and started again makes the steps that the undisturbed one makes, to the last bit."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import TINY

from hdr_lightning.cli import main

VARIED = ["--data.turns=0.5", "--data.exposure=0.5", "--data.cutmix=0.3", "--data.batch_size=1"]
"""Everything that draws random numbers on the way to a sample."""


STEPS = "--previews.every_n_steps=2"
"""Pictures in between change nothing."""


def options(demo, root, *more):
    return [
        "fit",
        *TINY,
        *VARIED,
        f"--data.pairs={demo}",
        f"--trainer.default_root_dir={root}",
        "--run=one",
        STEPS,
        *more,
    ]


def fit(words, leave=None, code=None):
    """Run to the end, or until a signal after some steps ends it."""
    if leave is not None:
        words = [*words, f"--trainer.callbacks+={json.dumps(leave)}"]
    if code is None:
        return main(words)
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == code
    return None


def slow(*values):
    """A case that is left to `pytest -m slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def after(steps, **more):
    return {"class_path": "disturbances.Leave", "init_args": {"steps": steps, **more}}


def table(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (row["step"], name): row[name]
        for row in rows
        for name in row
        if row[name] and name.startswith(("train/", "val/", "terms/", "gradients/"))
    }


def assert_equal(first, second):
    """Weights, optimiser, random numbers, counters and log of two runs."""
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (first, second)]
    for state in states:
        for each in state["random"]:
            del each["python"]  # which libraries use while they are imported
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "random", "loss", "loops", "global_step", "ema"):
        assert_same(*(state.get(part) for state in states), part)
    assert table(first) == table(second)


def assert_same(one, other, where):
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{index}")
    else:
        assert one == other or one != one, where


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.parametrize(
    ("leave", "more"),
    [
        (after(3), []),  # within the first epoch of 6 steps
        (after(8), ["--data.workers=2"]),
        (after(6), []),  # at its end: the validation is still to come
        (after(5, validating=True), ["--data.validation=0.3"]),  # and has begun
        (after(5, number=int(signal.SIGTERM)), ["--trainer.accumulate_grad_batches=2"]),
        slow(after(2), ["--trainer.val_check_interval=2", "--trainer.check_val_every_n_epoch=1"]),
        slow(after(6), ["--trainer.check_val_every_n_epoch=2"]),  # at the end of an epoch without validation
        slow(after(4), ["--trainer.max_steps=14", "--trainer.max_epochs=9"]),
        slow(after(7), ['--data.stages=[{"epoch": 1, "crop": 20, "batch_size": 2}]']),
    ],
)
def test_it_goes_on_bit_for_bit(demo, tmp_path, leave, more):
    words = [*more] if any("max_epochs" in word for word in more) else [*more, "--trainer.max_epochs=3"]
    undisturbed = fit(options(demo, tmp_path / "a", *words))
    code = 143 if leave["init_args"].get("number") else 75
    fit(options(demo, tmp_path / "b", *words), leave, code)
    assert_equal(undisturbed, fit(options(demo, tmp_path / "b", *words)))


def test_a_finished_run_is_left_alone_and_goes_on_where_more_is_asked(demo, tmp_path, caplog):
    folder = fit(options(demo, tmp_path, "--trainer.max_epochs=1"))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert fit(options(demo, tmp_path, "--trainer.max_epochs=1")) == folder
    assert "is finished" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    fit(options(demo, tmp_path, "--trainer.max_epochs=2"))
    assert "changed since the run began: trainer.max_epochs: 1 -> 2" in caplog.text
    assert {row for row, name in table(folder) if name == "train/loss"} == {str(step) for step in range(12)}


def test_another_experiment_under_the_same_name_is_refused(demo, tmp_path, capsys):
    fit(options(demo, tmp_path, "--trainer.max_epochs=2"), after(3), 75)
    fit(options(demo, tmp_path, "--trainer.max_epochs=2", "--data.turns=0.25"), code=2)
    assert "another configuration (data.turns: 0.5 -> 0.25)" in capsys.readouterr().err


def test_a_loss_term_that_came_or_went_makes_another_experiment(demo, tmp_path, capsys):
    fit(options(demo, tmp_path, "--trainer.max_epochs=1"))
    terms = {name: {"class_path": f"hdr_lightning.losses.{name}"} for name in ("L1", "Saturation")}
    loss = {"class_path": "hdr_lightning.losses.CompositeLoss", "init_args": {"terms": terms}}
    fit(options(demo, tmp_path, "--trainer.max_epochs=2", f"--model.loss={json.dumps(loss)}"), code=2)
    told = capsys.readouterr().err
    assert "terms.L1.class_path: None -> hdr_lightning.losses.L1" in told
    assert "terms.window.class_path: hdr_lightning.losses.WindowL1 -> None" in told


def test_another_experiment_is_refused_where_the_run_is_finished(demo, tmp_path, capsys):
    fit(options(demo, tmp_path, "--trainer.max_epochs=1"))
    fit(options(demo, tmp_path, "--trainer.max_epochs=1", "--data.turns=0.25"), code=2)
    assert "another configuration (data.turns: 0.5 -> 0.25)" in capsys.readouterr().err


def test_a_renamed_run_keeps_its_best_checkpoint(demo, tmp_path):
    words = options(demo, tmp_path, "--trainer.max_epochs=2", "--checkpoint.monitor=val/l1", "--checkpoint.mode=max")
    folder = fit(words)  # the largest error, that of the first epoch
    best = (folder / "checkpoints" / "best.ckpt").read_bytes()
    folder = folder.rename(tmp_path / "two")
    fit([*words, "--run=two", "--trainer.max_epochs=3"])
    assert (folder / "checkpoints" / "best.ckpt").read_bytes() == best


def test_a_run_that_early_stopping_ended_goes_on_with_more_patience(demo, tmp_path, caplog):
    words = options(demo, tmp_path, "--early_stopping.min_delta=50")
    folder = fit([*words, "--trainer.max_epochs=4", "--early_stopping.patience=1"])
    assert fit([*words, "--trainer.max_epochs=5", "--early_stopping.patience=1"]) == folder
    assert "early stopping ended it after 2 epochs: for more, raise early_stopping.patience" in caplog.text
    fit([*words, "--trainer.max_epochs=5", "--early_stopping.patience=2"])
    assert json.loads((folder / "run.json").read_text())["finished"] == {"epochs": 3, "steps": 18, "early": True}


def test_a_run_that_reached_its_steps_or_its_threshold_is_left_alone(demo, tmp_path, caplog):
    words = options(demo, tmp_path, "--trainer.max_epochs=4")
    fit([*words, "--trainer.max_steps=3"])
    fit([*words, "--trainer.max_steps=3"])
    assert "is finished: for more, raise trainer.max_steps" in caplog.text
    fit([*words, "--run=two", "--early_stopping.stopping_threshold=1"])
    fit([*words, "--run=two", "--early_stopping.stopping_threshold=1"])
    assert "is finished: early stopping ended it after 1 epochs" in caplog.text


def test_a_try_of_a_few_batches_writes_nothing_and_names_no_folder(demo, tmp_path, capsys):
    fit(options(demo, tmp_path, "--trainer.fast_dev_run=2"))
    assert "run: " not in capsys.readouterr().out
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.filterwarnings("ignore:.*Consider setting.*")
def test_a_few_batches_are_learned_by_heart_in_the_same_order(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.txt"))
    words = options(demo, tmp_path, "--trainer.overfit_batches=2", "--trainer.max_epochs=2", "--data.cutmix=0")
    fit([*words, '--trainer.callbacks+={"class_path": "disturbances.Seen"}'])
    seen = [line.split() for line in (tmp_path / "seen.txt").read_text().splitlines()]
    assert [name for epoch, name in seen if epoch == "0"] == [name for epoch, name in seen if epoch == "1"]


def test_early_stopping_is_not_forgotten(demo, tmp_path):
    words = ["--trainer.max_epochs=9", "--early_stopping.patience=1", "--early_stopping.min_delta=50"]
    undisturbed = fit(options(demo, tmp_path / "a", *words))
    # Stopped after the second epoch was saved, and before the run was noted as finished.
    stopped = fit(options(demo, tmp_path / "b", *words))
    (stopped / "run.json").unlink()
    assert_equal(undisturbed, fit(options(demo, tmp_path / "b", *words)))


@pytest.mark.slow
def test_the_dashboard_knows_it_as_one_run(demo, tmp_path):
    pytest.importorskip("wandb")
    words = options(demo, tmp_path, "--trainer.max_epochs=2", "--trainer.logger=WandbLogger")
    words.append("--trainer.logger.offline=true")
    fit(words, after(3), 75)
    folder = fit(words)
    names = [path.name for path in (folder / "wandb").glob("offline-run-*")]
    assert len(names) == 2
    assert {name.rpartition("-")[2] for name in names} == {json.loads((folder / "run.json").read_text())["wandb"]}


def fit_apart(words, folder, leave=None, code=0, ranks=2):
    words = [*words, f"--trainer.devices={ranks}", "--trainer.strategy=ddp"] if ranks > 1 else list(words)
    words += [f"--trainer.callbacks+={json.dumps(leave)}"] if leave else []
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "hdr_lightning", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stderr


def test_two_processes_go_on_bit_for_bit(demo, tmp_path):
    """A signal to one of them ends both."""
    more = [
        "--trainer.max_epochs=3",
        "--data.workers=1",
        "--data.test=2",
        "--data.validation=0.3",
        "--data.batch_size=1",
    ]
    words = {name: options(demo, tmp_path / name, *more) for name in "ab"}
    fit_apart(words["a"], tmp_path)
    told = fit_apart(words["b"], tmp_path, {"class_path": "disturbances.LeaveOnOne", "init_args": {"steps": 4}}, 75)
    assert "interrupted: SIGUSR1: saved at step 4" in told
    fit_apart(words["b"], tmp_path)
    assert_equal(tmp_path / "a" / "one", tmp_path / "b" / "one")


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after_"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_the_same_epoch(demo, tmp_path, monkeypatch, before, after_):
    """No photo of the epoch is seen twice, and none is left out."""
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.txt"))
    more = [
        "--trainer.max_epochs=2",
        "--data.test=2",
        "--data.validation=0.2",
        "--data.batch_size=1",
        "--data.cutmix=0",
    ]
    words = [*options(demo, tmp_path, *more), '--trainer.callbacks+={"class_path": "disturbances.Seen"}']
    steps = {"class_path": "disturbances.Leave", "init_args": {"steps": 2}}
    fit_apart(words, tmp_path, steps, 75, ranks=before)
    told = fit_apart(words, tmp_path, ranks=after_)
    assert f"the epoch goes on after {2 * before} of 8 samples, {after_} instead of {before} a batch" in told
    seen = (tmp_path / "seen.txt").read_text().splitlines()
    first = [line for line in seen if line.startswith("0 ")]
    assert sorted(first) == sorted(set(first))
    assert len(first) == 8


@pytest.mark.parametrize(
    ("leave", "more"),
    [
        (after(3), ["--ema.start_step=2"]),
        (after(5, validating=True), ["--ema.start_step=3", "--trainer.val_check_interval=5"]),
    ],
)
def test_the_moving_average_goes_on_bit_for_bit(demo, tmp_path, leave, more):
    words = [*more, "--trainer.max_epochs=2", "--ema.decay=0.9"]
    undisturbed = fit(options(demo, tmp_path / "a", *words))
    assert "ema" in torch.load(undisturbed / "checkpoints" / "last.ckpt", weights_only=True)
    fit(options(demo, tmp_path / "b", *words), leave, 75)
    assert_equal(undisturbed, fit(options(demo, tmp_path / "b", *words)))


@pytest.mark.filterwarnings("ignore:step [0-9]+ skipped")
@pytest.mark.filterwarnings("ignore:roll-back 1 of 3, up to step 11, 2 skipped in a row, back to last(_1)?.ckpt")
@pytest.mark.parametrize("steps", [10, slow(14)])
def test_a_roll_back_before_and_behind_goes_on_bit_for_bit(demo, tmp_path, steps):
    """Between two skipped steps, and after the roll-back that they led to; saved where it is saved anyway."""
    spike = {"class_path": "disturbances.Spike", "init_args": {"steps": [9, 10], "factor": 1e5}}
    words = ["--trainer.max_epochs=3", "--ema.decay=0.9", "--gradient_guard.patience=2"]
    words += ["--gradient_guard.warmup_steps=5", "--save_points.every_n_steps=2"]
    words.append(f"--trainer.callbacks+={json.dumps(spike)}")
    undisturbed = fit(options(demo, tmp_path / "a", *words))
    state = torch.load(undisturbed / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert "back to last.ckpt, rate times 0.5: step 9: the gradient exploded to" in state["RollBack"]["history"][0]
    fit(options(demo, tmp_path / "b", *words), after(steps), 75)
    again = fit(options(demo, tmp_path / "b", *words))
    assert_equal(undisturbed, again)
    other = torch.load(again / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert other["GradientGuard"] == state["GradientGuard"]
    assert other["EMA"] == state["EMA"]


@pytest.mark.filterwarnings("ignore:the loss term .* reached")
@pytest.mark.parametrize("policy", ["rescale", slow("drop")])
def test_a_term_above_its_ceiling_is_dealt_with_at_the_same_step(demo, tmp_path, policy):
    words = ["--trainer.max_epochs=2", f"--scale_guard.policy={policy}", "--loss_check.pairs=0"]
    words.append("--model.loss.init_args.terms.window.init_args.ceiling=0.05")
    undisturbed = fit(options(demo, tmp_path / "a", *words))
    assert torch.load(undisturbed / "checkpoints" / "last.ckpt", weights_only=True)["loss"]["scales"]
    fit(options(demo, tmp_path / "b", *words), after(3), 75)
    again = fit(options(demo, tmp_path / "b", *words))
    assert_equal(undisturbed, again)
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (undisturbed, again)]
    for name in ("ScaleGuard", "RisingLoss", "Gap"):
        assert_same(*(state["callbacks"][name] for state in states), name)
