"""Pretrain on one set, finetune on another: frozen parts, rates by layer, going on in the middle to the last bit."""

import csv
import json
from pathlib import Path

import pytest
import torch
from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.data.rooms import write_demo_set

DARKIR = [
    "--model.generator=DarkIR",
    "--model.generator.init_args.width=4",
    *(f"--model.generator.init_args.{level}_blocks=[1]" for level in ("encoder", "decoder")),
    *(f"--model.generator.init_args.middle_{level}_blocks=1" for level in ("encoder", "decoder")),
]
WORDS = ["fit", *(word for word in TINY if "model.generator" not in word), *DARKIR, "--data.batch_size=1"]
FROZEN = '["intro", "encoders", "downs"]'


@pytest.fixture(scope="module", autouse=True)
def importable():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "reliability"))
        yield


@pytest.fixture(scope="module")
def pretrained_run(tmp_path_factory):
    """The first phase, on a set of its own, with a moving average of the weights."""
    folder = tmp_path_factory.mktemp("first")
    pairs = write_demo_set(folder / "a", number=12, size=(32, 48), seed=1)
    return main(
        [*WORDS, f"--data.pairs={pairs}", f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=2"]
        + ["--ema.decay=0.9"]
    )


def words(demo, root, first, *more):
    return [
        *WORDS,
        f"--data.pairs={demo}",
        f"--trainer.default_root_dir={root}",
        "--run=second",
        f"--model.init_from={first}",
        "--trainer.max_epochs=3",
        *more,
    ]


def checkpoint(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def generator(state):
    return {name: value for name, value in state["state_dict"].items() if name.startswith("generator.")}


def averages(run):
    """The weights by which the first phase was validated."""
    best = checkpoint(run, "best")
    return generator(best) | {f"generator.{name}": value for name, value in best["ema"].items()}


def rows(run, prefix):
    with (run / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name.startswith(prefix) and row[name]} for row in found]


def leave(steps):
    return f'--trainer.callbacks+={{"class_path": "disturbances.Leave", "init_args": {{"steps": {steps}}}}}'


def interrupted(options, steps):
    with pytest.raises(SystemExit) as left:
        main([*options, leave(steps)])
    assert left.value.code == 75
    return main(options)


def assert_same(one, other):
    """Weights, averages and optimiser, to the last bit."""
    for part in ("state_dict", "ema"):
        assert one.get(part, {}).keys() == other.get(part, {}).keys()
        assert all(torch.equal(value, other[part][name]) for name, value in one.get(part, {}).items())
    (first,), (second,) = one["optimizer_states"], other["optimizer_states"]
    assert first["param_groups"] == second["param_groups"]
    assert first["state"].keys() == second["state"].keys()
    for number, state in first["state"].items():
        assert all(torch.equal(value, second["state"][number][name]) for name, value in state.items())


def is_encoder(name):
    return name.removeprefix("generator.").startswith(("intro.", "encoders.", "downs."))


FOR_GOOD = (
    f"--model.freeze={FROZEN}",
    "--model.layer_decay=0.5",
    "--model.checkpoint_blocks=true",
    '--model.rates={"*.norm1.*": 0.1}',
    "--ema.decay=0.9",
)
LATER = (f"--model.freeze={FROZEN}", "--model.unfreeze_epoch=1", '--model.rates={"encoders": 0.1}', "--ema.decay=0.9")
"""For one epoch of six steps."""


@pytest.fixture(scope="module")
def frozen_run(pretrained_run, demo, tmp_path_factory):
    """The second phase from the folder of the first, undisturbed, with a part that is never freed."""
    return main(words(demo, tmp_path_factory.mktemp("second"), pretrained_run, *FOR_GOOD))


@pytest.fixture(scope="module")
def freed_run(pretrained_run, demo, tmp_path_factory):
    """The same with a part that is freed."""
    return main(words(demo, tmp_path_factory.mktemp("freed"), pretrained_run, *LATER))


class TestFrozenForGood:
    def test_what_is_frozen_is_bit_identical_to_the_averages_of_the_first_phase(self, pretrained_run, frozen_run):
        before, after = averages(pretrained_run), generator(checkpoint(frozen_run))
        assert any(is_encoder(name) for name in after)
        for name, value in after.items():
            if is_encoder(name) or "side_out" in name:
                assert torch.equal(value, before[name])
            else:
                assert not torch.equal(value, before[name]), name

    def test_the_report_names_every_tensor(self, pretrained_run, frozen_run, caplog):
        report = json.loads((frozen_run / "init.json").read_text())
        assert report["path"] == str(pretrained_run / "checkpoints" / "best.ckpt")
        assert report["share"] == 1
        assert {f"generator.{name}" for name in report["matched"]} == generator(checkpoint(frozen_run)).keys()

    def test_rates_by_layer_are_in_the_log_and_in_the_optimiser(self, frozen_run):
        logged = rows(frozen_run, "learning_rate/")[0]
        full = float(logged["learning_rate/ending"])
        assert float(logged["learning_rate/middle_blks_enc"]) == pytest.approx(full / 8)
        assert float(logged["learning_rate/decoders.0/norm1"]) == pytest.approx(full / 20)
        assert not any("encoders" in name or "intro" in name for name in logged)
        groups = checkpoint(frozen_run)["optimizer_states"][0]["param_groups"]
        assert {f"learning_rate/{group['name']}" for group in groups} == logged.keys()

    def test_it_goes_on_in_the_middle_of_an_epoch_bit_for_bit(self, pretrained_run, frozen_run, demo, tmp_path):
        options = words(demo, tmp_path, pretrained_run, *FOR_GOOD)
        assert_same(checkpoint(frozen_run), checkpoint(interrupted(options, 8)))


class TestFreedLater:
    def test_the_optimiser_gets_it_then_and_keeps_its_state(self, freed_run):
        last = checkpoint(freed_run)
        steps = {float(state["step"]) for state in last["optimizer_states"][0]["state"].values()}
        total = last["global_step"]
        assert steps == {total, total * 2 / 3}

    def test_held_weights_stand_still_and_then_move(self, pretrained_run, demo, freed_run, tmp_path):
        options = words(demo, tmp_path, pretrained_run, *LATER)
        with pytest.raises(SystemExit):
            main([*options, leave(5)])
        before, held = averages(pretrained_run), generator(checkpoint(tmp_path / "second"))
        after = generator(checkpoint(freed_run))
        assert all(
            torch.equal(value, before[name]) == is_encoder(name) for name, value in held.items() if "side" not in name
        )
        assert not any(torch.equal(value, before[name]) for name, value in after.items() if is_encoder(name))

    @pytest.mark.parametrize("steps", [4, pytest.param(6, marks=pytest.mark.slow), 9])
    def test_it_goes_on_bit_for_bit_before_at_and_after(self, steps, pretrained_run, freed_run, demo, tmp_path):
        options = words(demo, tmp_path, pretrained_run, *LATER)
        assert_same(checkpoint(freed_run), checkpoint(interrupted(options, steps)))


def test_one_rate_and_nothing_frozen_is_what_it_was(demo, tmp_path):
    """A factor of 1 for every part makes the same steps, in groups."""
    plain = [*WORDS, f"--data.pairs={demo}", "--trainer.max_epochs=1", "--run=one"]
    one = main([*plain, f"--trainer.default_root_dir={tmp_path / 'a'}"])
    two = main([*plain, f"--trainer.default_root_dir={tmp_path / 'b'}", '--model.rates={"encoders": 1.0}'])
    assert rows(one, "learning_rate")[0].keys() == {"learning_rate"}
    assert rows(two, "learning_rate")[0].keys() == {"learning_rate/rest", "learning_rate/encoders"}
    first, second = generator(checkpoint(one)), generator(checkpoint(two))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_frozen_parts_without_weights_are_told(demo, tmp_path):
    with pytest.warns(UserWarning, match="model.freeze keeps random weights"):
        main(
            [*WORDS, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path}", "--model.freeze=[intro]"]
            + ["--trainer.max_epochs=1"]
        )


def test_names_that_match_nothing_are_refused_before_anything_is_written(demo, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main([*WORDS, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path}", "--model.freeze=[encoder]"])
    assert left.value.code == 2
    assert "model.freeze: no parameter of DarkIR matches 'encoder': did you mean encoders" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
