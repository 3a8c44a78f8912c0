"""A cross-validation: photos measured by networks that did not see them, none trained twice, the test opened once."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

import hdr_lightning
from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.evaluation.results import Evaluation
from hdr_lightning.run_process import read_course

BASE = {
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_model_summary": False, "log_every_n_steps": 1},
    "model": {
        "generator": {
            "class_path": "hdr_lightning.generators.NAFNet",
            "init_args": {"width": 4, "encoder_blocks": [1], "middle_blocks": 1, "decoder_blocks": [1]},
        },
        "loss": {
            "class_path": "hdr_lightning.losses.CompositeLoss",
            "init_args": {"terms": {"l1": {"class_path": "hdr_lightning.losses.L1"}}},
        },
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
    },
    "data": {"crop": 16, "workers": 0, "batch_size": 2},
    "loss_check": {"pairs": 0},
}

WORDS = ["--folds=3", "--measures=[l1,psnr]", "--device=cpu"]


def train_here(run, metric, look, until):
    """In place of a process: three seconds less each."""
    main(run.command()[3:])
    return "finished"


def crossval(base, output, *words):
    return main(["crossval", f"--base={base}", f"--output={output}", *WORDS, *words])


@pytest.fixture(scope="module")
def base(demo, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "base.yaml"
    path.write_text(yaml.safe_dump({**BASE, "data": {**BASE["data"], "pairs": str(demo)}}))
    return path


@pytest.fixture(scope="module")
def done(base, tmp_path_factory):
    """A whole cross-validation of three tiny networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hdr_lightning.crossval.train", train_here)
        return crossval(base, tmp_path_factory.mktemp("runs") / "folds")


@pytest.fixture
def trained(done, tmp_path, monkeypatch):
    """The same, trained and not measured yet."""
    monkeypatch.setattr("hdr_lightning.crossval.train", train_here)
    measured = shutil.ignore_patterns("out_of_fold", "test", "test_openings.csv", "crossval.*", ".*.lock")
    return shutil.copytree(done, tmp_path / "folds", ignore=measured)


def outcome(folder):
    return json.loads((folder / "crossval.json").read_text())


def refused(capsys, *given):
    with pytest.raises(SystemExit) as leave:
        crossval(*given)
    assert leave.value.code == 2
    return capsys.readouterr().err


class TestDone:
    def test_every_photo_is_measured_once_and_by_the_network_that_it_validated(self, done, demo):
        """What `fit` found of its best weights on its own fold is what is found out of fold."""
        names = [pair.name for pair in read_pairs(demo)]
        whole = Evaluation.from_json(done / "out_of_fold" / "evaluation.json")
        assert sorted(photo.name for photo in whole.photos) == sorted(names[5:])
        for fold in outcome(done)["folds"]:
            course = [value for _, value in read_course(done / fold["name"] / "metrics.csv", "val/psnr")]
            assert len(course) == 2
            assert fold["values"]["psnr"] == pytest.approx(max(course), rel=1e-4)
        assert sum(fold["photos"] for fold in outcome(done)["folds"]) == 7

    def test_the_spread_and_the_whole_are_those_of_numpy(self, done):
        found = outcome(done)
        parts = [fold["values"]["psnr"] for fold in found["folds"]]
        whole = Evaluation.from_json(done / "out_of_fold" / "evaluation.json")
        mean = found["whole"]["out of fold"]["psnr"]
        assert mean["spread"] == pytest.approx(np.std(parts, ddof=1))
        assert mean["mean"] == pytest.approx(np.mean(whole.values["out of fold"]["psnr"]))
        assert mean["low"] < mean["mean"] < mean["high"]

    def test_the_ensemble_is_the_average_of_its_members_and_costs_three_passes(self, done):
        found = Evaluation.from_json(done / "test" / "evaluation.json")
        assert [each.name for each in found.contenders] == ["source", "ensemble", "fold_0", "fold_1", "fold_2"]
        costs = {each.name: each.cost for each in found.contenders}
        assert costs["ensemble"].macs == 3 * costs["fold_0"].macs
        assert costs["ensemble"].parameters == 3 * costs["fold_0"].parameters
        together = outcome(done)["together"]
        assert together["passes"] == 3
        l1 = {name: np.array(found.values[name]["l1"]) for name in costs}
        mean = sum(l1[f"fold_{number}"] for number in range(3)) / 3
        assert (l1["ensemble"] <= mean + 1e-6).all()  # the triangle inequality
        (gain,) = [each for each in together["gains"] if each["measure"] == "l1" and "mean" in each["over"]]
        assert gain["mean"] == pytest.approx((l1["ensemble"] - mean).mean(), abs=1e-9)

    def test_the_best_member_is_chosen_out_of_fold(self, done):
        found = outcome(done)
        assert found["together"]["best"] == max(found["folds"], key=lambda fold: fold["gains"]["psnr"])["name"]

    def test_the_test_set_is_opened_once_and_the_same_command_measures_and_trains_nothing(self, done, base):
        made = {
            path: path.stat().st_mtime_ns for path in done.rglob("*.*") if path.suffix in (".ckpt", ".html", ".csv")
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hdr_lightning.evaluate.run", None)
            patch.setattr("hdr_lightning.crossval.train", train_here)
            assert crossval(base, done) == done
        assert {path: path.stat().st_mtime_ns for path in made} == made
        with (done / "test_openings.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["checkpoint"].count("best.ckpt") == 3

    def test_it_is_told_in_words_and_tables(self, done):
        text = (done / "crossval.md").read_text()
        assert "| mean of the folds ± their spread |" in text
        assert "(best out of fold)" in text
        assert "With 5 scenes no p below 0.12 is possible" in text
        assert "It costs 3 times the operations" in text

    def test_photos_are_enhanced_with_the_folds(self, done, demo, tmp_path):
        photo = read_pairs(demo)[0].source
        (made,) = main(["enhance", str(photo), f"--ensemble={done}", f"--output={tmp_path / 'out'}", "--device=cpu"])
        runs = [done / f"fold_{number}" for number in range(3)]
        together = hdr_lightning.load(runs, device="cpu")(Image.open(photo))
        np.testing.assert_array_equal(read_photo(made).pixels, np.asarray(together))


class TestTrained:
    def test_a_closed_test_set_stays_closed(self, trained, base):
        crossval(base, trained, "--test=false", "--cost=false")
        assert not (trained / "test").exists()
        assert not (trained / "test_openings.csv").exists()
        assert outcome(trained)["together"] is None

    def test_a_report_of_other_settings_is_not_taken_for_this_one(self, trained, base, capsys):
        crossval(base, trained, "--test=false", "--cost=false")
        said = refused(capsys, base, trained, "--test=false", "--tta")
        assert "has other edited (in one pass) than asked for now (flips and turns averaged)" in said

    def test_a_changed_configuration_is_refused_as_fit_refuses_it(self, trained, base, capsys):
        base.with_name("other.yaml").write_text(base.read_text().replace("lr: 0.01", "lr: 0.02"))
        with pytest.raises(SystemExit) as leave:
            crossval(base.with_name("other.yaml"), trained)
        assert leave.value.code == 2
        assert "was trained with another configuration" in capsys.readouterr().err

    def test_a_manifest_that_changed_since_is_refused(self, trained, base, demo, capsys):
        """Folds are drawn from what is there: one pair more, and networks have seen what would be measured."""
        text = demo.read_text()
        demo.write_text("".join(text.splitlines(keepends=True)[:-1]))
        try:
            assert "does not say that it was trained with those photos held out" in refused(capsys, base, trained)
        finally:
            demo.write_text(text)
        assert not (trained / "out_of_fold").exists()

    def test_a_network_in_the_place_of_another_is_refused(self, trained, base, capsys):
        shutil.copy(trained / "fold_0" / "checkpoints" / "best.ckpt", trained / "fold_1" / "checkpoints" / "best.ckpt")
        assert "fold_1/checkpoints/best.ckpt does not say that" in refused(capsys, base, trained)

    def test_what_another_worker_measures_is_left_to_it(self, trained, base, capsys):
        with FileLock(trained / ".evaluation.lock"):
            crossval(base, trained)
        assert "another worker measures them" in capsys.readouterr().out
        assert not (trained / "crossval.json").exists()


class TestPretended:
    """`train` is one that does as it is told."""

    @pytest.fixture
    def pretend(self, base, tmp_path, monkeypatch):
        def give(outcomes, *words):
            calls = []

            def train(run, metric, look, until):
                calls.append(run.name)
                return outcomes.get(run.name, "finished")

            monkeypatch.setattr("hdr_lightning.crossval.train", train)
            monkeypatch.setattr("hdr_lightning.crossval.is_finished", lambda folder: False)
            crossval(base, tmp_path / "out", *words)
            return calls

        return give

    def test_a_fold_that_another_worker_trains_is_left_to_it(self, pretend, tmp_path, capsys):
        (tmp_path / "out").mkdir()
        with FileLock(tmp_path / "out" / ".fold_1.worker.lock"):
            assert pretend({}) == ["fold_0", "fold_2"]
        assert "not trained yet: fold_0, fold_1, fold_2" in capsys.readouterr().out

    def test_a_fold_that_another_worker_left_meanwhile_is_taken_up(self, base, tmp_path, monkeypatch):
        (tmp_path / "out").mkdir()
        lock = FileLock(tmp_path / "out" / ".fold_0.worker.lock")
        lock.acquire()
        calls = []

        def train(run, metric, look, until):
            lock.release()
            calls.append(run.name)
            return "finished"

        monkeypatch.setattr("hdr_lightning.crossval.train", train)
        crossval(base, tmp_path / "out")
        assert calls == ["fold_1", "fold_0", "fold_2"]

    def test_a_fold_whose_time_another_worker_used_up_meanwhile_gets_no_more(self, pretend, monkeypatch):
        looks = iter([False, True])  # when its turn comes
        monkeypatch.setattr("hdr_lightning.crossval._timed_out", lambda fold: next(looks, False))
        assert pretend({}, "--budget.minutes=1") == ["fold_0", "fold_2"]

    def test_a_fold_that_fails_ends_with_1_and_the_others_are_trained(self, pretend, capsys):
        with pytest.raises(SystemExit) as leave:
            pretend({"fold_0": "failed"})
        assert leave.value.code == 1
        out, err = capsys.readouterr()
        assert "fold_2: finished" in out
        assert "1 folds failed: see the end of" in err

    def test_no_time_trains_nothing(self, pretend):
        assert pretend({}, "--hours=0") == []

    def test_a_dry_run_writes_nothing(self, pretend, tmp_path, capsys):
        assert pretend({}, "--dry_run") == []
        assert not (tmp_path / "out").exists()
        assert "fold_2: 5 train, 2 of 2 scenes validate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--folds=1"], "--folds: expected 2 or more"),
        (["--folds=20"], "expected 2 folds or more, at most as many as groups"),
        (["--settings.data.test=0"], "no pairs are held out for the test: set data.test"),
        (["--settings.data.stream=shards"], "data.stream holds pairs that were split"),
        (["--measures=[beauty]"], "there is no beauty"),
        (["--settings.data.pears=1"], "pears"),
        (["--settings={data: {crop: 8}}"], "give settings by their whole keys, such as data.crop"),
        (["--settings.data.crop=["], "expected a value as YAML, got '['"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(base, tmp_path, capsys, words, told):
    assert told in refused(capsys, base, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_settings_of_the_command_line_are_added_to_those_of_the_file(base, demo, tmp_path, capsys):
    file = tmp_path / "folds.yaml"
    settings = {"data.test": 1, "data.pairs": "nowhere.jsonl"}
    file.write_text(yaml.safe_dump({"base": str(base), "output": str(tmp_path / "out"), "settings": settings}))
    words = [f"--settings.data.pairs={demo}", "--settings.data.split_seed", "3", "--settings.data.test=2", "--dry_run"]
    main(["crossval", f"--config={file}", *words])
    told = capsys.readouterr().out
    assert sum(int(line.split(", ")[1].split()[0]) for line in told.splitlines() if "fold_" in line) == 10


def test_folds_of_a_split_file_are_taken_and_counted(base, demo, tmp_path, capsys):
    path = main(["split", str(demo), "--folds=3", f"--output={tmp_path / 'three.json'}"])
    crossval(base, tmp_path / "out", f"--settings.data.split={path}", "--dry_run")
    assert "3 folds" in capsys.readouterr().out
    said = refused(capsys, base, tmp_path / "out", f"--settings.data.split={path}", "--folds=4")
    assert "three.json holds 3 folds" in said


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs" / "crossval").glob("*.yaml")))
def test_configurations_divide_pairs_and_open_with_their_command(path, demo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    words = [f"--output={tmp_path / 'out'}", f"--settings.data.pairs={demo}", "--dry_run"]
    main(["crossval", f"--config={path.relative_to(Path.cwd())}", *words])
    assert "3 folds" in capsys.readouterr().out
    assert f"hdr-lightning crossval --config configs/crossval/{path.name}" in path.read_text()


@pytest.mark.slow
def test_a_signal_saves_leaves_with_75_and_the_same_command_goes_on(base, tmp_path):
    output = tmp_path / "folds"
    words = ["--test=false", "--cost=false", "--settings.trainer.max_epochs=60", "--folds=2"]
    command = [
        sys.executable,
        "-m",
        "hdr_lightning",
        "crossval",
        f"--base={base}",
        f"--output={output}",
        *WORDS,
        *words,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    table = output / "fold_0" / "metrics.csv"
    end = time.monotonic() + 120
    while not (table.is_file() and len(table.read_text().splitlines()) > 5):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGUSR1)
    told = process.communicate(timeout=100)[1]
    assert process.returncode == 75, told
    saved = sorted(output.glob("fold_0/checkpoints/last*.ckpt"))
    assert saved
    assert not (output / "fold_1").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert outcome(output)["folds"][1]["photos"] > 0
    assert "interrupted: SIGTERM: saved at step" in (output / "fold_0.log").read_text()
