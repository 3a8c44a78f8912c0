"""Means, intervals and tests, against scipy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from hdr_lightning.evaluation import statistics
from hdr_lightning.evaluation.results import SOURCE, Contender, EvaluatedPhoto, Evaluation
from hdr_lightning.evaluation.statistics import compare, compare_contenders, holm, summarise, summarise_contender


def alone(number):
    return [str(n) for n in range(number)]


def two(number, shift=0.5, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=number)
    return first.tolist(), (first + shift + rng.normal(size=number)).tolist()


def test_mean_and_spread_equal_scipy():
    values, _ = two(30)
    found = summarise(values, alone(30))
    assert found.mean == pytest.approx(stats.tmean(values))
    assert found.spread == pytest.approx(stats.tstd(values))


def test_interval_equals_scipys_bootstrap_where_scenes_are_many():
    """Ours is wider by what scipy's percentiles lack: 1 % at 200 scenes."""
    values, _ = two(200)
    found = summarise(values, alone(200))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 23, 500])
def test_quantile_of_t_equals_scipy(freedom):
    assert statistics.t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


@pytest.mark.parametrize("scenes", [5, 24])
def test_interval_holds_the_truth_as_often_as_it_says(monkeypatch, scenes):
    """400 evaluations of scenes with one to four photos each, which are alike; 95 % less or more chance."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1000)
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(400):
        counts = rng.integers(1, 5, scenes)
        values = np.repeat(rng.normal(size=scenes), counts) + 0.3 * rng.normal(size=counts.sum())
        found = summarise(values.tolist(), np.repeat(alone(scenes), counts).tolist())
        inside += found.low <= 0 <= found.high
    assert 0.91 <= inside / 400 <= 0.985


def test_photos_of_one_scene_count_as_one():
    """Every photo ten times is no more evidence; as if each were a scene of its own, it would be."""
    values, others = two(12)
    once = compare(values, others, alone(12))
    again = compare(values * 10, others * 10, alone(12) * 10)
    assert again == pytest.approx(once)
    as_if = compare(values * 10, others * 10, alone(120))
    assert as_if.high - as_if.low < 0.5 * (once.high - once.low)


@pytest.mark.parametrize("number", [3, 8, 12])
def test_test_of_few_equals_scipys_exact_one(number):
    first, second = two(number)
    expected = stats.permutation_test(
        (np.subtract(second, first),),
        np.mean,
        permutation_type="samples",
        n_resamples=2**number,
        axis=0,
    )
    assert compare(first, second, alone(number)).p == pytest.approx(expected.pvalue, rel=1e-6)


def test_test_of_many_equals_scipys():
    first, second = two(40, 0.3)
    expected = stats.permutation_test(
        (np.subtract(second, first),),
        np.mean,
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).pvalue
    assert compare(first, second, alone(40)).p == pytest.approx(expected, abs=0.01)


def test_p_is_uniform_where_all_is_alike(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    rng = np.random.default_rng(0)
    chances = [compare(*rng.normal(size=(2, 20)).tolist(), alone(20)).p for _ in range(300)]
    assert stats.kstest(chances, "uniform").pvalue > 0.01


@pytest.mark.parametrize("number", [1, 2, 7, 40])
def test_equal_contenders_do_not_differ(number):
    values, _ = two(number)
    found = compare(values, values, alone(number))
    assert (found.mean, found.p) == (0, 1)


def test_ties_weaken_nothing_and_one_photo_says_nothing():
    first, second = [0.0] * 8, [1.0] * 6 + [0.0, 0.0]
    assert compare(first, second, alone(8)).p == pytest.approx(2 * 2**2 / 2**8)
    found = compare([1.0], [2.0], ["a"])
    assert (found.mean, found.p) == (1, 1)
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert compare([1.0, 1, 1], [2.0, 2, 2], ["a"] * 3).p == 1


def test_memory_is_bounded_and_changes_nothing(monkeypatch):
    first, second = two(60)
    whole = compare(first, second, alone(60))
    monkeypatch.setattr(statistics, "AT_ONCE", 6000)
    assert compare(first, second, alone(60)) == whole


def test_holm_equals_the_textbook():
    assert holm({"a": 0.01, "b": 0.02, "c": 0.9}) == pytest.approx({"a": 0.03, "b": 0.04, "c": 0.9})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_contenders_are_compared_on_the_photos_that_both_have():
    photos = [EvaluatedPhoto(name, name, 10, 10) for name in "abcdef"]
    values = {
        SOURCE: {"psnr": [1.0, 2, 3, 4, 5, 6]},
        "ours": {"psnr": [2.0, 3, None, 5, 6, 8]},
        "broken": {"psnr": [None] * 6},
    }
    evaluation = Evaluation("", [Contender(name) for name in values], photos, values)
    found = compare_contenders(evaluation, "psnr", SOURCE)
    assert list(found) == ["ours"]
    assert found["ours"].mean == pytest.approx(6 / 5)
    assert found["ours"].p == pytest.approx(2 / 2**5)
    assert summarise_contender(evaluation, "ours", "psnr").mean == pytest.approx(24 / 5)
    assert summarise_contender(evaluation, "broken", "psnr") is None
    assert summarise_contender(evaluation, "ours", "lpips") is None
