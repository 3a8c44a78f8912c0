"""An ablation that is started again after its file, folder or storage changed; and what can never be."""

import pytest

from hdr_lightning.ablation.outcome import read_outcome
from hdr_lightning.ablation.space import Range, expand
from hdr_lightning.ablation.study import Study
from hdr_lightning.cli import main
from hdr_lightning.errors import InputError

ODD = {"search": {"value": {"choices": [1.0, 2.0, 3.0]}}, "trials": 4, "seeds": [0]}


def refused(ablation, capsys, *words, **content):
    with pytest.raises(SystemExit) as leave:
        ablation(*words, **content)
    assert leave.value.code == 2
    return capsys.readouterr().err


def starts(folder):
    return {str(path.parent.relative_to(folder)): path.stat().st_size for path in folder.glob("*/*/starts")}


class TestChanged:
    def test_a_point_that_left_the_file_is_not_trained_again_and_not_called_for(self, ablation, capsys, tmp_path):
        """Such as one that `fit` refused, by its better name."""
        assert "odd, seed_0" in refused(ablation, capsys, variations={"plain": {}, "odd": {"code": 2}, "late": {}})
        ablation(variations={"plain": {}, "even": {"value": 2.0}})
        assert starts(tmp_path / "out")["odd/seed_0"] == 1
        assert not (tmp_path / "out" / "late").exists()
        assert [point.name for point in read_outcome(tmp_path / "out").points] == ["plain", "even"]
        ablation(variations={"plain": {}, "late": {}})
        assert starts(tmp_path / "out")["late/seed_0"] == 1

    def test_a_point_that_failed_and_left_the_file_fails_no_more(self, ablation):
        with pytest.raises(SystemExit):
            ablation(variations={"good": {}, "bad": {"code": 1}})
        ablation(variations={"good": {}})

    @pytest.mark.parametrize("change", [{"settings": {"data.batch_size": 8, "data.crop": 8}}, {"budget": {"steps": 9}}])
    def test_a_finished_run_of_another_base_is_not_mixed_with_new_ones(self, ablation, capsys, tmp_path, change):
        content = {"variations": {"old": {}}, "settings": {"data.crop": 4}, "budget": {"steps": 5}}
        ablation(**content)
        said = refused(ablation, capsys, **{**content, "variations": {"old": {}, "new": {}}, **change})
        key = "data.crop: 4 -> 8" if "settings" in change else "trainer.max_steps: 5 -> 9"
        assert key in said
        assert "another --output" in said
        assert not (tmp_path / "out" / "new").exists()
        ablation("--summarise", **{**content, **change})

    def test_a_finished_run_is_not_started_again_for_more_seeds(self, ablation, tmp_path):
        """With a budget of minutes `fit` would give it some more."""
        ablation(budget={"minutes": 1})
        ablation(budget={"minutes": 1}, seeds=[0, 1, 2])
        assert set(starts(tmp_path / "out").values()) == {1}

    def test_a_folder_that_was_moved_holds_the_same_study(self, ablation, tmp_path):
        folder = ablation(**ODD)
        folder.rename(tmp_path / "moved")
        ablation(**ODD, output=str(tmp_path / "moved"))
        assert set(starts(tmp_path / "moved").values()) == {1}
        assert len(read_outcome(tmp_path / "moved").points) == 4

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"storage": "sqlite"}, "--storage=journal"),
            ({"maximise": False}, "--maximise=true"),
            ({"metric": "val/ssim"}, "--metric=val/psnr"),
            ({"search": {"value": {"choices": [1.0, 9.0]}}}, "value was searched otherwise before"),
            ({"search": {"value": {"low": 1, "high": 9}}}, "value was searched otherwise before"),
        ],
    )
    def test_another_study_in_the_same_folder_is_refused(self, ablation, capsys, change, told):
        ablation(**ODD)
        assert told in refused(ablation, capsys, **{**ODD, "trials": 5, **change})


class TestSearch:
    def test_every_start_and_every_worker_tries_something_new(self, tmp_path):
        search, found = {"x": Range(0, 1)}, set()
        for _ in range(4):
            study = Study(tmp_path / "ablation", "val/psnr", maximise=True, storage="journal", prune=False)
            claim = study.claim(search, 10)
            found.add(claim.point.settings["x"])
            study.tell(claim, None)
        assert len(found) == 4

    def test_a_point_that_cannot_be_built_fails_and_the_search_goes_on(self, ablation, capsys, tmp_path):
        content = {"search": {"code": {"choices": [0, 2]}, "value": {"low": 1, "high": 2}}, "trials": 8, "seeds": [0]}
        for _ in range(8):  # refused at first, a search is ended: nothing says that another point would do better
            with pytest.raises(SystemExit) as leave:
                ablation(**content)
            if leave.value.code == 1:
                break
        assert leave.value.code == 1
        assert "points failed: trial_" in capsys.readouterr().err
        states = {point.state for point in read_outcome(tmp_path / "out").points}
        assert states == {"complete", "fail"}
        assert set(starts(tmp_path / "out").values()) == {1}

    def test_a_reference_that_can_be_none_of_its_points_is_told_now(self, ablation, capsys, tmp_path):
        assert "--reference best: the points are trial_0000" in refused(ablation, capsys, "--reference=best", **ODD)
        assert not (tmp_path / "out").exists()


class TestNames:
    @pytest.mark.parametrize("name", ["report", "Outcome.md", "study.journal", "trial_small", "a\nb", "a ", "x" * 300])
    def test_a_name_that_the_folder_needs_or_cannot_bear_is_refused(self, name):
        with pytest.raises(InputError, match="its name becomes a folder"):
            expand({name: {}}, {})

    def test_long_values_of_a_grid_are_told_to_be_variations(self):
        with pytest.raises(InputError, match="its name becomes a folder"):
            expand({}, {"model.loss.init_args.terms": [{f"term {n}": n for n in range(50)}]})

    def test_a_grid_without_values_is_refused(self):
        with pytest.raises(InputError, match="width: expected values, got none"):
            expand({}, {"width": []})


@pytest.mark.parametrize("limits", [{"low": 0.5, "high": 8, "whole": True}, {"low": 1, "high": float("inf")}])
def test_a_range_that_optuna_cannot_draw_from_is_refused(limits):
    with pytest.raises(InputError, match="width: expected"):
        Range(**limits).check("width")


@pytest.mark.parametrize("verb", ["ablate", "--summarise"])
def test_an_output_that_is_a_file_is_told(ablation, capsys, tmp_path, verb):
    (tmp_path / "file").write_text("mine")
    words = [verb] if verb == "--summarise" else []
    assert "file" in refused(ablation, capsys, *words, output=str(tmp_path / "file" / "out"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_search_without_points_is_refused(ablation, capsys):
    assert "--trials" in refused(ablation, capsys, **{**ODD, "trials": 0})


@pytest.mark.parametrize("words", ["yes: {}, no: {value: 2.0}", "1: {}, 2: {value: 2.0}", "plain: , other: {}"])
def test_what_yaml_takes_for_no_name_is_told(ablation, tmp_path, capsys, words):
    file = tmp_path / "words.yaml"
    file.write_text(f"base: {tmp_path / 'base.yaml'}\noutput: {tmp_path / 'out'}\nvariations: {{{words}}}\n")
    with pytest.raises(SystemExit) as leave:
        main(["ablate", "--config", str(file)])
    assert leave.value.code == 2
    told = capsys.readouterr().err
    assert "put its name in quotes" in told or "expected settings by their keys" in told
