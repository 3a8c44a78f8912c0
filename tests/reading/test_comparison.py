"""Tables and figures of evaluations and ablations say what the statistics say."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from hdr_lightning import reading
from hdr_lightning.ablation.outcome import Outcome, PointOutcome
from hdr_lightning.cli import main
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.repeats import RunsDifference
from hdr_lightning.evaluation.results import SOURCE, Contender, Cost, EvaluatedPhoto, Evaluation


def point(name, values, mean, low, high, seconds=60.0, steps=100, **known):
    return PointOutcome(name, {}, "complete", values, [], mean, low, high, seconds, steps, "NAFNet", **known)


def ablated_of(*points):
    return Outcome("val/psnr", True, "plain", list(points))


@pytest.fixture
def evaluation():
    rng = np.random.default_rng(0)
    photos = [EvaluatedPhoto(f"{n}.png", f"room {n}", 64, 48) for n in range(12)]
    base = rng.normal(20, 3, 12)
    values = {"plain": base, "better": base + rng.normal(1, 0.2, 12), "alike": base + rng.normal(0, 0.2, 12)}
    measured = {name: {"psnr": [float(value) for value in column]} for name, column in values.items()}
    names = (SOURCE, *measured)
    return Evaluation("t", [Contender(n) for n in names], photos, {SOURCE: {"psnr": [9.0] * 12}, **measured})


@pytest.fixture
def ablated():
    cost = Cost(1_000, 2_000_000, 0.1, 10, (100, 200), "CPU")
    plain = point("plain", {0: 19.0, 1: 21.0}, 20.0, 18.0, 22.0, cost=cost)
    gains = {
        "psnr": RunsDifference(1.0, 0.5, 1.5, 0.01, 0.01, (0.9, 1.1), 12),
        "l1": RunsDifference(0.1, -0.1, 0.3, 0.4, 0.01, (0.0, 0.2), 12),
    }
    more = point("more", {0: 21.0}, 21.0, math.nan, math.nan, cost=cost, differences=gains)
    return ablated_of(plain, more)


def test_verdicts_are_those_of_a_paired_test(evaluation):
    """SciPy's signed-rank test agrees on what counts."""
    rows = {row[0]: row for row in reading.compare_table(evaluation, "plain").rows}
    assert set(rows) == {"better", "alike"}  # the sources are no contender
    for name, row in rows.items():
        base, other = (np.array(evaluation.values[each]["psnr"]) for each in ("plain", name))
        chance = scipy.stats.wilcoxon(other, base).pvalue
        assert (row[3] == "better") == (chance < 0.05)
        assert row[2].startswith(f"{(other - base).mean():+.2f}")


def test_less_is_better_where_it_is(evaluation):
    for column in evaluation.values.values():
        column["l1"] = column.pop("psnr")
    assert reading.compare_table(evaluation, "plain", ["l1"]).rows[0][3] == "worse"


def test_means_begin_with_the_untouched(evaluation):
    table = reading.means_table(evaluation)
    assert table.rows[0][:2] == ["untouched", "9.00 (9.00 to 9.00)"]
    assert [row[0] for row in table.rows] == ["untouched", "plain", "better", "alike"]


def test_what_cannot_be_compared_is_refused(evaluation, ablated):
    with pytest.raises(InputError, match="expected 'other'"):
        reading.compare_table(evaluation, "other")
    with pytest.raises(InputError, match="ssim was not measured: choose among psnr"):
        reading.draw_differences(evaluation, "plain", ["ssim"])
    with pytest.raises(InputError, match="two points"):
        reading.gains_table(ablated_of(*ablated.points[:1]))


def test_an_ablation_in_tables(ablated):
    gains = reading.gains_table(ablated, ["psnr", "l1"])
    assert [row[3] for row in gains.rows] == ["better", "not significant: seeds"]
    costs = reading.cost_table(ablated)
    first = dict(zip(costs.head, costs.rows[0], strict=True))
    assert first["val/psnr [95 %]"] == "20.000 [18.000, 22.000]"
    assert (first["steps"], first["training"], first["parameters"], first["GMAC/MP"]) == (
        "100",
        "1 min 0 s",
        "1,000",
        "0.1",
    )
    assert costs.rows[1][1] == "21.000"


def test_an_ablation_in_figures(ablated):
    points = reading.draw_points(ablated)
    dots = [list(line.get_xdata()) for line in points.axes[0].lines if line.get_marker() == "o"]
    assert dots == [[19.0, 21.0], [21.0]]
    for drawing in (points, reading.draw_gains(ablated), reading.draw_cost(ablated)):
        assert min(Image.open(io.BytesIO(drawing._repr_png_())).size) > 150
    unknown = point("plain", {0: 1.0}, 1.0, math.nan, math.nan, None, None)
    with pytest.raises(InputError, match="what the points cost"):
        reading.draw_cost(ablated_of(unknown))


def test_a_point_without_a_finished_run_has_no_number(ablated):
    waiting = replace(point("late", {}, math.nan, math.nan, math.nan, 30.0, None), state="pruned")
    some = ablated_of(*ablated.points, waiting)
    assert reading.cost_table(some).rows[2][:2] == ["late", "pruned"]
    assert "late" not in [text.get_text() for text in reading.draw_cost(some).axes[0].texts]
    assert min(Image.open(io.BytesIO(reading.draw_points(some)._repr_png_())).size) > 150


def test_colours_tell_the_verdict(evaluation):
    from hdr_lightning.drawing import BEST, QUIET

    marks = [line for line in reading.draw_differences(evaluation, "plain").axes[0].lines if line.get_marker() == "o"]
    assert [line.get_color() for line in marks] == [BEST, QUIET]


@pytest.fixture(scope="module")
def measured(checkpoint, demo, tmp_path_factory):
    output = tmp_path_factory.mktemp("measured") / "evaluation"
    words = [str(checkpoint.parent.parent), f"--pairs={demo}", "--photos=3", "--measures=[psnr]", f"--output={output}"]
    return reading.read_measured(main(["evaluate", *words]))


def test_the_worst_photos_come_first(measured):
    ours = measured.contenders[0].name
    values = measured.evaluation.values
    gains = np.subtract(values[ours]["psnr"], values[SOURCE]["psnr"])
    assert measured.worst(1)[0].name == measured.evaluation.photos[int(gains.argmin())].name
    assert measured.report.is_file()
    drawing = reading.draw_worst(measured, 2)
    assert len(drawing.axes) == 8
    before, after = (values[name]["psnr"][int(gains.argmin())] for name in (SOURCE, ours))
    assert drawing.axes[0].get_xlabel().endswith(f"PSNR (dB) {before:.2f} → {after:.2f}")
    with Image.open(io.BytesIO(drawing._repr_jpeg_())) as picture:
        assert picture.format == "JPEG"
    with pytest.raises(InputError, match="pictures of nobody"):
        reading.draw_worst(measured, contender="nobody")


def test_rows_of_any_pictures(photo):
    path = photo(height=48, width=32)
    drawing = reading.draw_rows({"before": [path], "after": [Image.open(path)]}, ["a photo"])
    assert [axes.get_title(loc="left") for axes in drawing.axes] == ["before", "after"]
    shown = [axes.images[0].get_array() for axes in drawing.axes]
    assert np.array_equal(shown[0], np.asarray(Image.open(path)))
    assert np.array_equal(*shown)
    with pytest.raises(InputError, match="as many pictures each"):
        reading.draw_rows({"before": [path], "after": []})
