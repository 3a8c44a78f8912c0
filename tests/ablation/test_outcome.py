"""What an ablation says at its end."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from hdr_lightning.ablation.outcome import read_outcome
from hdr_lightning.cli import main
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation import repeats
from hdr_lightning.evaluation.repeats import compare_runs, corrected
from hdr_lightning.evaluation.results import Evaluation

MORE = {"variations": {"plain": {}, "other": {"value": 3.0}}, "seeds": [0, 1, 2]}


@pytest.fixture
def networks(checkpoint, demo):
    """A function that gives the runs of a folder networks that differ a little, and photos of seven scenes."""

    def give(folder, shift, validation=0.6):
        config = yaml.safe_load((checkpoint.parent.parent / "config.yaml").read_text())
        config["data"] |= {"validation": validation, "test": 0.1}
        content = torch.load(checkpoint, weights_only=True)
        name = next(
            key
            for key in reversed(content["state_dict"])
            if key.endswith("bias") and len(content["state_dict"][key]) == 3
        )
        for seed, run in enumerate(sorted(folder.glob("seed_?"))):
            shifted = dict(content["state_dict"])
            shifted[name] = shifted[name] + shift + 0.001 * seed
            (run / "checkpoints").mkdir(exist_ok=True)
            torch.save({**content, "state_dict": shifted}, run / "checkpoints" / "best.ckpt")
            (run / "config.yaml").write_text(yaml.safe_dump(config))

    return give


class TestRepeats:
    def test_as_many_scenes_as_count_give_the_interval_of_student(self):
        """Without a difference between seeds, scipy's for the scenes."""
        gains = np.random.default_rng(0).normal(0.3, 1, 12)
        found = compare_runs(np.zeros((4, 12)).tolist(), [gains.tolist()] * 4, [str(n) for n in range(12)])
        expected = stats.ttest_1samp(gains, 0)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-4)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-4)

    def test_seeds_alone_give_their_interval(self):
        """Where all photos gain the same, scipy's for the seeds."""
        gains = [0.3, 0.5, 0.2]
        found = compare_runs(np.zeros((3, 8)).tolist(), [[gain] * 8 for gain in gains], [str(n) for n in range(8)])
        expected = stats.ttest_1samp(gains, 0)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-4)
        assert found.p_photos == 2 / 2**8
        assert found.verdict == "not significant: seeds" if expected.pvalue >= 0.05 else "significant"

    def test_alike_recipes_are_seldom_called_different(self):
        """Where seeds are chance, too, the test of photos alone is wrong every other time."""
        rng = np.random.default_rng(1)
        scenes = [str(n) for n in range(8)]
        wrong = {"both": 0, "photos": 0}
        for _ in range(100):
            gains = rng.normal(0, 1, (3, 1)) + rng.normal(0, 0.5, (1, 8)) + rng.normal(0, 0.5, (3, 8))
            found = compare_runs(np.zeros((3, 8)).tolist(), gains.tolist(), scenes)
            wrong["both"] += found.verdict == "significant"
            wrong["photos"] += found.p_photos < repeats.LEVEL
        assert wrong["both"] <= 14  # 5 %, and what 100 draws and two degrees of freedom add
        assert wrong["photos"] > 30

    def test_a_clear_difference_is_found(self):
        gains = 1 + np.random.default_rng(0).normal(0, 0.1, (3, 10))
        found = compare_runs(np.zeros((3, 10)).tolist(), gains.tolist(), [str(n) for n in range(10)])
        assert found.verdict == "significant"
        assert found.low < 1 < found.high

    @pytest.mark.parametrize(("seeds", "scenes", "told"), [(1, 8, "one seed"), (3, 5, "5 scenes"), (3, 1, "1 scene")])
    def test_too_few_of_either_bear_nothing(self, seeds, scenes, told):
        gains = (1 + np.random.default_rng(0).normal(0, 0.01, (seeds, 10))).tolist()
        found = compare_runs(np.zeros((seeds, 10)).tolist(), gains, [str(n % scenes) for n in range(10)])
        assert found.verdict == f"not significant: {told}"

    def test_the_same_networks_do_not_differ(self):
        found = compare_runs([[1.0] * 8] * 2, [[1.0] * 8] * 2, list("abcdefgh"))
        assert (found.mean, found.low, found.high, found.p, found.p_photos) == (0, 0, 0, 1, 1)

    def test_chances_are_corrected_for_being_several(self):
        one = compare_runs(np.zeros((2, 8)).tolist(), [[1.0] * 8, [1.2] * 8], list("abcdefgh"))
        found = corrected(dict.fromkeys("abc", one))
        assert found["a"].p == pytest.approx(3 * one.p)
        assert found["c"].p_photos == pytest.approx(3 * one.p_photos)


def test_the_outcome_has_the_interval_of_seeds(ablation):
    """Runs without networks: the metric alone."""
    outcome = read_outcome(ablation(**MORE))
    plain, other = outcome.points
    assert (outcome.reference, outcome.evaluation) == ("plain", None)
    assert plain.values == pytest.approx({0: 1.0, 1: 1.1, 2: 1.2})
    expected = stats.t.interval(0.95, 2, loc=1.1, scale=stats.sem([1.0, 1.1, 1.2]))
    assert (plain.low, plain.high) == pytest.approx(tuple(expected), abs=1e-4)
    assert outcome.gain(other) == pytest.approx(2.0)
    assert plain.steps == 16
    assert plain.seconds > 0


def test_points_are_compared_on_the_validation_photos(ablation, networks, capsys):
    folder = ablation(**MORE)
    networks(folder / "plain", 0.0)
    networks(folder / "other", 0.1)
    assert ablation("--summarise", **MORE) == folder
    printed = capsys.readouterr().out
    outcome = read_outcome(folder)
    assert [each.name for each in outcome.evaluation.contenders] == ["source", "plain", "other"]
    other = outcome.points[1]
    single = [
        Evaluation.from_json(folder / f"{name}/seed_{n}.evaluation.json")
        for name in ("plain", "other")
        for n in range(3)
    ]
    gains = [
        np.subtract(single[n + 3].values[f"seed_{n}"]["psnr"], single[n].values[f"seed_{n}"]["psnr"]) for n in range(3)
    ]
    assert other.differences["psnr"].by_seed == pytest.approx([gain.mean() for gain in gains])
    assert outcome.evaluation.values["other"]["psnr"] == pytest.approx(
        np.mean([single[n + 3].values[f"seed_{n}"]["psnr"] for n in range(3)], axis=0)
    )
    assert outcome.verdict(other, "psnr") == "better"  # brighter, as the targets are
    assert outcome.verdict(other, "psnr") in printed
    assert "psnr_inside" in outcome.evaluation.measures
    assert other.cost == outcome.points[0].cost  # one generator, measured once
    assert other.cost.parameters > 0
    assert (folder / "report" / "report.html").is_file()
    table = list(csv.DictReader((folder / "outcome.csv").read_text().splitlines()))
    assert {row["measure"] for row in table} >= {"val/psnr", "psnr", "psnr_inside", "psnr_outside"}
    assert outcome.markdown() == (folder / "outcome.md").read_text()
    assert "<svg" in (folder / "outcome.svg").read_text()


def test_seven_scenes_bear_no_four_comparisons_and_a_moved_folder_is_compared(ablation, networks, tmp_path):
    content = {"variations": {name: {} for name in "abcde"}, "seeds": [0, 1]}
    folder = ablation(**content)
    for shift, name in enumerate("abcde"):
        networks(folder / name, 0.1 * shift)
    ablation("--summarise", **content)
    assert "with 7 scenes and 4 comparisons no p of photos below 0.062 is possible" in read_outcome(folder).notes[0]
    folder.rename(tmp_path / "moved")
    ablation("--summarise", "--reference=b", output=str(tmp_path / "moved"), **content)
    assert read_outcome(tmp_path / "moved").points[0].differences


def test_what_was_measured_is_not_measured_again(ablation, networks, capsys):
    content = MORE | {"seeds": [0]}
    folder = ablation(**content)
    networks(folder / "plain", 0.0)
    networks(folder / "other", 0.1)
    ablation("--summarise", **content)
    page = (folder / "report" / "report.html").stat().st_mtime_ns
    capsys.readouterr()
    ablation("--summarise", **content)
    assert "measuring" not in capsys.readouterr().out
    assert (folder / "report" / "report.html").stat().st_mtime_ns == page
    networks(folder / "other", 0.2)
    ablation("--summarise", "--reference=other", **content)
    assert "measuring other, seed_0" in (printed := capsys.readouterr().out)
    assert "measuring plain" not in printed
    assert read_outcome(folder).points[0].differences["psnr"].mean < 0
    assert "not significant: one seed" in printed


def test_other_validation_photos_are_not_compared(ablation, networks):
    content = MORE | {"seeds": [0]}
    folder = ablation(**content)
    networks(folder / "plain", 0.0)
    networks(folder / "other", 0.0, validation=0.3)
    ablation("--summarise", **content)
    outcome = read_outcome(folder)
    assert outcome.evaluation is None
    assert not outcome.points[1].differences
    assert "validated on different photos" in outcome.notes[0]
    assert "different photos" in (folder / "outcome.md").read_text()
    assert not (folder / "report").exists()


def test_a_network_that_breaks_is_told(ablation, networks):
    content = MORE | {"seeds": [0]}
    folder = ablation(**content)
    networks(folder / "plain", 0.0)
    networks(folder / "other", float("nan"))
    ablation("--summarise", **content)
    outcome = read_outcome(folder)
    assert not outcome.points[1].differences
    assert "7 photos of other cannot be measured" in outcome.notes[0]


def test_a_partly_finished_ablation_says_what_is_missing(ablation, capsys):
    folder = ablation(**MORE)
    (folder / "other" / "seed_1" / "run.json").write_text('{"finished": null}')
    ablation("--summarise", **MORE)
    other = read_outcome(folder).points[1]
    assert other.missing == [1]
    assert set(other.values) == {0, 2}
    assert "2 (missing: 1)" in capsys.readouterr().out


def test_more_seeds_are_trained_and_only_these(ablation):
    folder = ablation(**MORE)
    ablation(**MORE | {"seeds": [0, 1, 2, 3]})
    assert set(read_outcome(folder).points[1].values) == {0, 1, 2, 3}
    assert (folder / "plain" / "seed_3" / "starts").read_text() == "x"


def test_unequal_steps_are_told(ablation):
    folder = ablation(variations={"long": {"steps": 20}, "short": {}}, seeds=[0])
    assert "different numbers of steps, 16 to 20" in read_outcome(folder).notes[0]


def test_a_search_tells_the_best_first_and_what_matters(ablation):
    search = {"value": {"low": 1, "high": 2}, "nothing": {"low": 0, "high": 1}}
    folder = ablation(search=search, trials=12, seeds=[0])
    outcome = read_outcome(folder)
    means = [point.mean for point in outcome.points]
    assert means == sorted(means, reverse=True)
    assert outcome.reference == outcome.points[0].name
    assert list(outcome.importances) == ["value", "nothing"]
    assert "<svg" in (folder / "search.svg").read_text()
    assert "chosen by these very numbers" in (folder / "outcome.md").read_text()


def test_a_point_that_failed_is_in_the_table(ablation, tmp_path):
    with pytest.raises(SystemExit):
        ablation(variations={"good": {}, "bad": {"code": 1}})
    outcome = read_outcome(tmp_path / "out")
    assert [(point.state, point.missing) for point in outcome.points] == [("complete", []), ("fail", [0, 1])]
    assert outcome.verdict(outcome.points[1], "psnr") == "not compared"


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--summarise"], "holds no ablation yet"),
            (["--reference=none"], "--reference none: the points are base"),
        ],
    )
    def test_before_anything_is_trained(self, ablation, capsys, words, told):
        with pytest.raises(SystemExit) as leave:
            ablation(*words)
        assert leave.value.code == 2
        assert told in capsys.readouterr().err

    def test_without_a_finished_run(self, ablation, capsys):
        ablation(hours=0.0)
        with pytest.raises(SystemExit) as leave:
            ablation("--summarise")
        assert leave.value.code == 2
        assert "none of the runs is finished" in capsys.readouterr().err

    def test_a_folder_without_an_outcome(self, tmp_path):
        with pytest.raises(InputError, match="expected what `ablate` writes at its end"):
            read_outcome(tmp_path)
        (tmp_path / "outcome.json").write_text(json.dumps({"metric": "val/psnr"}))
        with pytest.raises(InputError, match="expected what"):
            read_outcome(tmp_path)


def test_a_worker_that_is_not_the_last_leaves_the_outcome_to_it(ablation, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("hdr_lightning.ablation.study.Study.busy", lambda study: True)
    ablation()
    assert "other workers still train" in capsys.readouterr().out
    assert not (tmp_path / "out" / "outcome.json").exists()


def test_optuna_is_asked_for_where_it_is_not_there(monkeypatch, capsys):
    """As it is told on a machine without it."""
    import sys

    for name in [each for each in sys.modules if each.startswith(("hdr_lightning.ablat", "optuna"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit) as leave:
        main(["ablate", "--config=ablation.yaml"])
    assert leave.value.code == 2
    assert "pip install 'hdr-lightning[ablation]'" in capsys.readouterr().err
