"""Red flags: trainings that are sick in one way each, and a healthy one."""

import csv
import json
import os
import subprocess
import sys
import time

import pytest
from conftest import TINY
from offline_wandb import wandb_log

from hdr_lightning.callbacks.flags import FLAGS, TermShare
from hdr_lightning.cli import main
from hdr_lightning.data.pairs import PairDataset
from hdr_lightning.errors import InputError

SICK = '''
import os
import time
import torch
from hdr_lightning.data.pairs import PairDataset
from hdr_lightning.generators import Generator
from hdr_lightning.losses import LossTerm

class Sick(Generator):
    """What it makes of a picture and of a small weight that learns."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.bias = torch.nn.Parameter(torch.zeros(3, 1, 1))
        self.unused = torch.nn.Parameter(torch.zeros(3, 1, 1))

    def forward(self, image):
        ramp = torch.linspace(0, 1, image.shape[-1]).expand_as(image)
        cast = torch.tensor([0.2, -0.1, 0.0]).view(3, 1, 1)
        made = {
            "flat": torch.full_like(image, 0.5),
            "alike": ramp,
            "white": image + 2,
            "cast": image * 0.7 + 0.1 + cast,
            "silent": image + self.bias + 0 * self.unused,
            "none": image + self.bias,
        }[self.kind]
        return made + 1e-9 * self.bias + 0 * self.unused

class Term(LossTerm):
    """L1 times a factor that depends on how often it was called in training."""

    def __init__(self, factor: str, weight: float = 1.0, ceiling: float = 1e9):
        super().__init__(weight, ceiling)
        self.factor = eval("lambda calls, training: " + factor)
        self.calls = 0

    def measure(self, prediction, target, source):
        self.calls += self.training
        return (prediction - target).abs().mean() * self.factor(self.calls, self.training)

if os.environ.get("SLOW_RANK") == os.environ.get("LOCAL_RANK", "0"):
    read = PairDataset._open
    PairDataset._open = lambda self, photo: (time.sleep(0.05), read(self, photo))[1]
'''


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return [float(row[name]) for row in rows if row.get(name)]


def flags(folder, name):
    """What was written of a flag."""
    path = folder / "flags.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [line for line in lines if line["name"] == name]


@pytest.fixture
def options(demo, tmp_path, monkeypatch):
    """A function that gives the options of a short run with a sick generator or loss."""
    name = f"sick_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SICK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def give(kind=None, factor=None, epochs=4, **flag):
        if kind in ("flat", "alike"):  # which have a tint, too
            flag["color_cast__action"] = "off"
        words = list(TINY)
        if kind:
            words = [word for word in words if "model.generator" not in word]
            words += [f"--model.generator={name}.Sick", f"--model.generator.init_args.kind={kind}"]
        if factor:
            term = {"class_path": f"{name}.Term", "init_args": {"factor": factor}}
            terms = {"l1": {"class_path": "L1"}, "sick": term}
            words.append(f"--model.loss.init_args.terms={json.dumps(terms)}")
        words += [f"--data.pairs={demo}", "--data.validation=0.3", f"--trainer.max_epochs={epochs}"]
        words += ["--loss_check.pairs=0", "--trainer.default_root_dir=runs/sick"]
        return ["fit", *words, *(f"--flags.{key.replace('__', '.')}={value}" for key, value in flag.items())]

    return give


def test_a_healthy_training_raises_none(options):
    every = {f"{flag}__every_n_steps": 1 for flag in ("term_share", "gradient_size", "rising_loss", "dead_rate")}
    folder = main([*options(epochs=6, **every), "--flags.starved_device.action=off"])
    assert not (folder / "flags.jsonl").is_file()
    rows = table(folder / "metrics.csv")
    for flag in FLAGS:
        assert column(rows, f"health/flags/{flag.name}") == [0] * 6


@pytest.mark.parametrize(("kind", "what"), [("flat", "every output is one flat"), ("alike", "the same for every")])
def test_frozen_validation_names_constant_outputs(options, kind, what):
    with pytest.warns(UserWarning, match=f'red flag "frozen_validation" .* for 3 validations, .*{what}'):
        folder = main(options(kind))
    (flag,) = flags(folder, "frozen_validation")
    assert flag["epoch"] == 2
    assert {"step", "seen", "means", "try"} < set(flag)
    losses = column(table(folder / "metrics.csv"), "val/loss")
    assert max(losses) == pytest.approx(min(losses), rel=1e-4)
    raised = column(table(folder / "metrics.csv"), "health/flags/frozen_validation")
    assert raised == [0, 0, 1, 1, 1]  # told, and each epoch


def test_frozen_validation_names_weights_that_do_not_move(options):
    with pytest.warns(UserWarning, match="and the weights do not move"):
        main([*options("none", dead_rate__action="off"), "--model.optimizer.init_args.lr=0"])


def test_frozen_validation_is_counted_on_where_a_run_goes_on(options):
    folder = main(options("flat", epochs=2))
    assert not flags(folder, "frozen_validation")
    with pytest.warns(UserWarning, match=r"red flag.*for 3 validations"):
        folder = main([*options("flat", epochs=3), f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"])
    assert flags(folder, "frozen_validation")


def test_a_flag_is_told_again_only_after_it_went_down(options):
    """The 8-term loss of which one made 94 %."""
    factor = "100 if calls in (3, 4, 5, 6, 10, 11, 12) else 1"
    with pytest.warns(UserWarning, match='red flag "term_share".*"sick" makes 99% of the loss') as told:
        folder = main(options("none", factor, term_share__every_n_steps=1))
    assert len([each for each in told if "term_share" in str(each.message)]) == 2
    assert [flag["step"] for flag in flags(folder, "term_share")] == [5, 12]
    assert column(table(folder / "metrics.csv"), "health/flags/term_share")[:3] != []


@pytest.mark.parametrize(("weight", "seen"), [("1e-3", "below 0.01"), ("1e4", "above 100")])
def test_a_gradient_that_vanishes_or_explodes_is_told_with_its_parts(options, weight, seen):
    factor = f"{weight} - 1 if training else 0"
    with pytest.warns(UserWarning, match=rf'"gradient_size".*in 3 looks, {seen} \(unused .*bias .*\)'):
        main(options("silent", factor, epochs=2, gradient_size__every_n_steps=1))


def test_a_part_that_gets_no_gradient_is_told(options):
    with pytest.warns(UserWarning, match="no gradient reaches unused in 3 looks"):
        main(options("silent", epochs=2, gradient_size__every_n_steps=1, gradient_size__low=0))


def test_a_training_loss_that_rises_is_told_and_noise_is_not(options):
    rising, noisy = "1 + 0.05 * calls", "1 + 0.5 * (calls % 2)"
    more = {"rising_loss__every_n_steps": 1, "rising_loss__window": 4, "rising_loss__rise": 0.1}
    with pytest.warns(UserWarning, match='"rising_loss".*the training loss rose from'):
        main(options("none", rising, epochs=6, **more))
    assert not flags(main(options("none", noisy, epochs=6, **more)), "rising_loss")


def test_validation_that_gets_worse_while_training_gets_better_is_told(options):
    factor = "0.9 ** calls if training else 1.05 ** calls"
    with pytest.warns(UserWarning, match=r'"gap".*at its best, while the training loss fell .* in 3 validations'):
        folder = main(options("none", factor, epochs=5, gap__patience=3))
    assert [flag["epoch"] for flag in flags(folder, "gap")] == [3]


def test_outputs_at_the_ends_of_the_range_are_told(options):
    with pytest.warns(UserWarning, match='"pinned".*100% are 1 or above'):
        main(options("white", epochs=2, pinned__after=0))


def test_a_tint_is_told_by_its_colour(options):
    with pytest.warns(UserWarning, match='"color_cast".*too red'):
        main(options("cast", epochs=3, color_cast__after=0, frozen_validation__action="off"))


@pytest.mark.parametrize("rate", ["0", "1e-13"])
def test_a_dead_learning_rate_ends_the_run(options, rate, capsys):
    words = options("none", epochs=9, dead_rate__every_n_steps=1)
    with pytest.raises(SystemExit) as leave:
        main([*words, f"--model.optimizer.init_args.lr={rate}"])
    assert leave.value.code == 1
    assert 'stopped: red flag "dead_rate" at step 3: the learning rate is ' in capsys.readouterr().err


def test_a_device_that_waits_for_photos_is_told(options, monkeypatch):
    read = PairDataset._open
    monkeypatch.setattr(PairDataset, "_open", lambda self, photo: (time.sleep(0.05), read(self, photo))[1])
    with pytest.warns(UserWarning, match='"starved_device".* of the time .*waiting for the loader.*--data.cache'):
        folder = main(options("none", starved_device__every_n_steps=3))
    assert min(column(table(folder / "metrics.csv"), "system/waiting_share")) > 0.3


def test_a_flag_that_is_off_says_nothing(options):
    assert not flags(main(options("flat", frozen_validation__action="off")), "frozen_validation")


def test_a_setting_that_makes_no_sense_is_refused():
    with pytest.raises(InputError, match=r"flags\.term_share\.looks is to be 1 or more, got 0"):
        TermShare(looks=0)


def test_wandb_gets_an_alert_and_a_summary(options, monkeypatch):
    """The summary is read back from the file that a later `wandb sync` would send."""
    pytest.importorskip("wandb")
    alerts = []
    monkeypatch.setattr("wandb.sdk.wandb_run.Run.alert", lambda run, title, text, level: alerts.append((title, level)))
    words = [*options("flat"), "--trainer.logger=WandbLogger", "--trainer.logger.offline=true"]
    with pytest.warns(UserWarning, match="frozen_validation"):
        folder = main([*words, "--trainer.logger.project=tests"])
    assert alerts == [("red flag: frozen_validation", "WARN")]
    records = wandb_log(folder)
    summary = {item.key or "/".join(item.nested_key) for record in records for item in record.summary.update}
    assert "health/flags/frozen_validation/seen" in summary


def test_a_flag_that_one_rank_sees_stops_both(options, tmp_path):
    """The loader of the second process is slow."""
    words = options("none", starved_device__every_n_steps=2, starved_device__action="stop", starved_device__limit=0.5)
    command = [sys.executable, "-m", "hdr_lightning", *words, "--trainer.devices=2", "--trainer.strategy=ddp"]
    command += ["--data.batch_size=1", "--flags.starved_device.looks=1"]
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "SLOW_RANK": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert done.stderr.count('stopped: red flag "starved_device"') == 2
