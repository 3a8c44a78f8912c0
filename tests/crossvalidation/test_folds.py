"""Folds that are none of one data set are refused, and what the ensemble gains is told by its statistics."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hdr_lightning.crossvalidation.folds import Fold, check_folds
from hdr_lightning.crossvalidation.outcome import FoldFigures, best_member, compare_together, fold_figures
from hdr_lightning.data.manifest import PairPaths, Pairs
from hdr_lightning.data.splits import Split
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import Contender, Cost, EvaluatedPhoto, Evaluation
from hdr_lightning.run_process import Run


def pairs(*names):
    """Of `a/1` the scene is a."""
    return Pairs.of([PairPaths(name, Path(name), Path(f"{name}_t"), name.split("/")[0]) for name in names])


def fold(number, train, validation, test=("t/1",)):
    run = Run(Path("out"), f"fold_{number}", 0, {})
    return Fold(run, Split(pairs(*train), pairs(*validation), pairs(*test), pairs(*test)))


A, B, C = ("a/1", "a/2"), ("b/1",), ("c/1",)


def test_folds_of_one_data_set_pass():
    check_folds([fold(0, B + C, A), fold(1, A + C, B), fold(2, A + B, C)])


def test_a_test_set_of_its_own_manifest_may_have_photos_of_the_same_names():
    own = Pairs.of([PairPaths("a/1", Path("elsewhere/a/1"), Path("elsewhere/a/1_t"), "x")])
    folds = [fold(0, B, A), fold(1, A, B)]
    check_folds([Fold(each.run, replace(each.split, test=own)) for each in folds])


@pytest.mark.parametrize(
    ("folds", "told"),
    [
        ([fold(0, B + C, A), fold(1, B + C, A), fold(2, A + B, C)], "a/1 validates in 2 of the folds"),
        ([fold(0, B + C, A), fold(1, A + C, B)], "c/1 validates in 0 of the folds"),
        (
            [fold(0, ("a/1", "b/1"), ("a/2",)), fold(1, A, B), fold(2, B, ("a/1",))],
            "trains on a/2 or on its scene",
        ),
        ([fold(0, B, A), fold(1, A, B, ("u/1",))], "fold_1 holds out another test set than fold_0"),
        ([fold(0, B, A, B), fold(1, A, B, B)], "fold_0 trains or validates on photos of the test set"),
    ],
)
def test_what_may_have_been_seen_is_named(folds, told):
    with pytest.raises(InputError, match=told):
        check_folds(folds)


def figures(name, psnr, gain):
    return FoldFigures(name, 10, 5, 5, {"psnr": psnr}, {"psnr": gain})


def test_the_best_member_gained_most_whatever_its_photos():
    """Photos of one fold may be easier than those of another."""
    assert best_member([figures("fold_0", 25.0, 1.0), figures("fold_1", 20.0, 3.0)]) == "fold_1"


def evaluation(scenes, **columns):
    photos = [EvaluatedPhoto(f"{number}", f"{number}", 30, 20) for number in range(scenes)]
    cost = Cost(10, 100, 1.0, 1000, (512, 512), "cpu")
    costs = {"ensemble": Cost(20, 200, 2.0, 1100, (512, 512), "cpu"), "fold_0": cost, "fold_1": cost}
    contenders = [Contender(name, cost=costs.get(name)) for name in columns]
    values = {name: {"psnr": list(column)} for name, column in columns.items()}
    return Evaluation("test", contenders, photos, values)


def columns(gain, scenes=12):
    rng = np.random.default_rng(0)
    one, other = 20 + rng.normal(size=scenes), 20.5 + rng.normal(size=scenes)
    ensemble = np.maximum(one, other) + gain + 0.1 * rng.normal(size=scenes)
    return {"source": one - 5, "ensemble": ensemble, "fold_0": one, "fold_1": other}


FOLDS = [figures("fold_0", 20.0, 3.0), figures("fold_1", 20.0, 2.0)]


def test_an_ensemble_that_is_better_is_called_so_with_the_p_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    data = columns(1.0)
    found = compare_together(evaluation(12, **data), FOLDS)
    assert found.best == "fold_0"
    assert "The ensemble is better than its best member, fold_0: PSNR (dB) +" in found.verdict
    assert "It costs 2 times the operations" in found.verdict
    gains = [data["ensemble"] - data["fold_0"], data["ensemble"] - (data["fold_0"] + data["fold_1"]) / 2]
    every = {"permutation_type": "samples", "n_resamples": np.inf}
    theirs = [stats.permutation_test((gain,), np.mean, **every).pvalue for gain in gains]
    assert [gain.mean for gain in found.gains] == pytest.approx([gain.mean() for gain in gains])
    assert max(gain.p for gain in found.gains) == pytest.approx(max(max(theirs), 2 * min(theirs)))


def test_chance_is_called_chance_and_few_scenes_few():
    found = compare_together(evaluation(5, **columns(0.0, 5)), FOLDS)
    assert "these photos do not tell" in found.verdict
    assert "With 5 scenes no p below 0.12 is possible" in found.verdict
    data = columns(-3.0)
    assert "worse than its best member, fold_0" in compare_together(evaluation(12, **data), FOLDS).verdict


def test_broken_pictures_count_for_nothing():
    data = {name: [float(value) for value in column] for name, column in columns(1.0).items()}
    whole = compare_together(evaluation(12, **data), FOLDS).gains
    data["fold_1"][3] = None
    fewer = compare_together(evaluation(12, **data), FOLDS).gains
    assert fewer[0].mean != whole[0].mean
    own = evaluation(4, **{"source": [10.0] * 4, "out of fold": [12.0, None, 14.0, 16.0]})
    found = fold_figures([fold(0, A, ("0", "1")), fold(1, A, ("2", "3"))], own)
    assert [(each.photos, each.values["psnr"], each.gains["psnr"]) for each in found] == [(2, 12, 2), (2, 15, 5)]


def test_a_fold_without_a_sound_photo_is_not_the_best():
    folds = [FoldFigures("fold_0", 3, 2, 2, {}, {}), FoldFigures("fold_1", 3, 2, 2, {"psnr": 20.0}, {"psnr": 3.0})]
    assert best_member(folds) == "fold_1"
