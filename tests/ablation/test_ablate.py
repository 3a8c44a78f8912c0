"""An ablation: one file, a process for each run, and nothing trained twice."""

import csv
import re

import pytest
import yaml
from conftest import TINY

from hdr_lightning.ablation.outcome import read_outcome
from hdr_lightning.ablation.space import Range, expand
from hdr_lightning.cli import main
from hdr_lightning.errors import InputError
from hdr_lightning.run_config import changed
from hdr_lightning.run_process import read_course

BASE = {"model": {"loss": {"init_args": {"terms": {"l1": 1, "window": 2}}}}, "data": {"batch_size": 4}}

WINDOW = "model.loss.init_args.terms.window"


def starts(folder):
    return {str(path.parent.relative_to(folder)): path.stat().st_size for path in folder.glob("*/*/starts")}


def test_every_point_is_trained_for_every_seed_and_once(ablation, capsys):
    content = {"variations": {"with": {}, "without": {WINDOW: None, "value": 3.0}}}
    folder = ablation(**content)
    everywhere = {f"{name}/seed_{seed}": 1 for name in ("with", "without") for seed in (0, 1)}
    assert starts(folder) == everywhere
    assert ablation(**content) == folder
    assert starts(folder) == everywhere
    written = yaml.safe_load((folder / "without" / "seed_0.yaml").read_text())
    assert written["model"]["loss"]["init_args"]["terms"] == {"l1": 1}
    assert re.search(r"without, seed_1: finished after \d+ s, val/psnr 3.1", capsys.readouterr().out)


def test_a_dry_run_writes_nothing(ablation, tmp_path, capsys):
    ablation("--dry_run=true", grid={"value": [1.0, 2.0]}, search={"x": {"low": 0, "high": 1}}, trials=5)
    assert not (tmp_path / "out").exists()
    out = capsys.readouterr().out
    assert "14 runs" in out
    assert "value=2.0: value=2.0" in out


def test_a_search_trains_what_the_study_proposes(ablation):
    folder = ablation(search={"value": {"low": 1, "high": 2}}, trials=3, seeds=[0])
    values = [yaml.safe_load(path.read_text())["value"] for path in sorted(folder.glob("trial_*/seed_0.yaml"))]
    assert len(set(values)) == 3
    assert all(1 <= value <= 2 for value in values)


def test_a_point_that_fails_ends_with_1_and_the_others_are_trained(ablation, capsys):
    content = {"variations": {"bad": {"code": 1}, "good": {}}}
    for words in ([], ["--retry=true"]):
        with pytest.raises(SystemExit) as leave:
            ablation(*words, **content)
        assert leave.value.code == 1
        assert "1 points failed: bad" in capsys.readouterr().err


def test_a_configuration_that_fit_refuses_is_told_with_its_words(ablation, capsys):
    with pytest.raises(SystemExit) as leave:
        ablation(variations={"odd": {"code": 2}})
    assert leave.value.code == 2
    assert "odd, seed_0: the value is odd" in capsys.readouterr().err


def test_a_run_that_a_signal_ended_ends_the_ablation_and_goes_on(ablation, tmp_path):
    with pytest.raises(SystemExit) as leave:
        ablation(settings={"code": 75})
    assert leave.value.code == 75
    ablation()
    assert starts(tmp_path / "out") == {"base/seed_0": 2, "base/seed_1": 1}


def test_no_time_trains_nothing_and_the_same_command_goes_on(ablation, tmp_path):
    ablation(hours=0.0)
    assert starts(tmp_path / "out") == {}
    ablation()
    assert starts(tmp_path / "out") == {"base/seed_0": 1, "base/seed_1": 1}


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"steps": 50}, {"max_steps": 50, "max_epochs": -1}),
        ({"samples": 90}, {"max_steps": 23, "max_epochs": -1}),
        ({"epochs": 3}, {"max_epochs": 3}),
        ({"minutes": 1.5}, {"max_time": {"seconds": 90}}),
    ],
)
def test_a_budget_holds_for_every_run(ablation, budget, expected):
    folder = ablation(budget=budget, seeds=[0])
    assert yaml.safe_load((folder / "base" / "seed_0.yaml").read_text())["trainer"] == expected


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ({"variations": {"a/b": {}}}, "leave out such characters"),
            ({"grid": {"value": [2, 2]}}, "two points are called 'value=2'"),
            ({"variations": {"a": {"value": 2}}, "grid": {"value": [1]}}, "by the grid"),
            ({"variations": {"a": {"model.none": None}}}, "a: model.none is to be taken out"),
            ({"variations": {"a": {"value.below": 1}}}, "has nothing below it"),
            ({"seeds": []}, "needs a seed"),
            ({"budget": {"steps": 3, "epochs": 2}}, "one of epochs, steps, samples and minutes"),
            ({"search": {"x": {"low": 2, "high": 1}}}, "low < high"),
            ({"base": "none.yaml"}, "expected a configuration"),
        ],
    )
    def test_before_anything_is_trained(self, ablation, tmp_path, capsys, content, told):
        with pytest.raises(SystemExit) as leave:
            ablation(**content)
        assert leave.value.code == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_missing_metric_is_named(tmp_path):
    table = tmp_path / "metrics.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["step", "val/l1"], [1, 0.5]])
    with pytest.raises(InputError, match=r"has no val/psnr: choose the metric among val/l1"):
        read_course(table, "val/psnr")


def test_a_table_from_before_the_first_validation_has_no_course(tmp_path):
    table = tmp_path / "metrics.csv"
    table.write_text("step,train/loss\n0,0.5\n")
    assert read_course(table, "val/psnr") == []


def test_the_base_is_left_as_it_is():
    changed(BASE, {WINDOW: None, "data.batch_size": 8})
    assert BASE["data"] == {"batch_size": 4}
    assert "window" in BASE["model"]["loss"]["init_args"]["terms"]


def test_points_of_one_value_have_different_names():
    points = expand({}, {"model.optimizer.init_args.lr": [1, 2], "other.lr": [3]})
    assert [point.name for point in points] == ["init_args.lr=1, other.lr=3", "init_args.lr=2, other.lr=3"]


def test_a_range_of_ratios_is_above_zero():
    with pytest.raises(InputError, match="above 0 where log is true"):
        Range(0, 1, log=True).check("lr")


def test_settings_of_the_command_line_join_those_of_the_file(ablation):
    words = ["--settings.data.batch_size=2", f"--settings.{WINDOW}", "null", "--settings.rates=[1, 2]"]
    given = {"data.crop": 8, "data.batch_size": 3}
    folder = ablation(*words, settings=given, variations={"a": {}}, seeds=[0])
    found = yaml.safe_load((folder / "a" / "seed_0.yaml").read_text())
    assert found["data"] == {"batch_size": 2, "crop": 8}
    assert found["rates"] == [1, 2]
    assert "window" not in found["model"]["loss"]["init_args"]["terms"]


def test_classes_are_written_as_they_were_given(ablation):
    named = {"class_path": "hdr_lightning.losses.Lab"}
    whole = {"class_path": "hdr_lightning.generators.NAFNet", "init_args": {"width": 4}}
    content = {"variations": {"lab": {WINDOW: named}}, "grid": {"model.generator": [whole]}, "settings": {"x": named}}
    folder = ablation(seeds=[0], **content)
    found = yaml.safe_load((folder / "lab, generator=NAFNet" / "seed_0.yaml").read_text())
    assert found["model"]["loss"]["init_args"]["terms"]["window"] == found["x"] == named
    assert found["model"]["generator"] == whole


@pytest.mark.slow
def test_real_runs_of_equal_steps(demo, tmp_path):
    """Trained by `fit`, with a schedule that ends with the steps."""
    tiny = [word.removeprefix("--").replace("generator=", "generator.class_path=").split("=", 1) for word in TINY]
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(changed({}, {key: yaml.safe_load(value) for key, value in tiny})))
    content = {
        "base": str(base),
        "output": str(tmp_path / "out"),
        "settings": {"data.pairs": str(demo)},
        "variations": {"window": {}, "no window": {WINDOW: None}},
        "seeds": [0],
        "budget": {"steps": 5},
    }
    file = tmp_path / "ablation.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    folder = main(["ablate", "--config", str(file)])
    for name in ("window", "no window"):
        with (folder / name / "seed_0" / "metrics.csv").open() as table:
            rows = list(csv.DictReader(table))
        assert max(int(row["step"]) for row in rows) == 4
        assert ("terms/window" in rows[0]) == (name == "window")
    outcome = read_outcome(folder)
    assert [point.steps for point in outcome.points] == [5, 5]
    assert len(outcome.evaluation.contenders) == 3
    assert outcome.points[1].differences["psnr_inside"].verdict == "not significant: one seed"
