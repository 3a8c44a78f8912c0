"""The score has the properties that its definition promises, and the picture shows what it says."""

import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from hdr_lightning.cli import main
from hdr_lightning.evaluation.drawing import Mark, front
from hdr_lightning.evaluation.results import SOURCE, Contender, Cost, EvaluatedPhoto, Evaluation
from hdr_lightning.evaluation.score import cost_of, pareto_svg, quality_of, score, score_table

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"

COST = Cost(29_160_000, 64_000_000_000, 1.5, 500_000_000, (512, 512), "a processor")

SVG = "{http://www.w3.org/2000/svg}"


def evaluation(contenders, photos=("a", "b")):
    """An evaluation of contenders: name -> (cost, values)."""
    return Evaluation(
        "rooms",
        [Contender(name, origin=f"runs/{name}", cost=cost) for name, (cost, _) in contenders.items()],
        [EvaluatedPhoto(name, name, 600, 400) for name in photos],
        {
            name: {measure: list(column) for measure, column in values.items()}
            for name, (_, values) in contenders.items()
        },
    )


def values(psnr=20.0, ssim=0.8, lpips=0.2):
    return {"psnr": [psnr - 1, psnr + 1], "ssim": [ssim, ssim], "lpips": [lpips, lpips]}


def one(cost=COST, **means):
    return score(evaluation({"net": (cost, values(**means))}))["net"]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (one(psnr=25), one(psnr=24)),
        (one(ssim=0.91), one(ssim=0.9)),
        (one(lpips=0.19), one(lpips=0.2)),
        (one(dataclasses.replace(COST, parameters=1_000_000, peak_bytes=COST.peak_bytes - 4 * 28_160_000)), one()),
        (one(dataclasses.replace(COST, macs=COST.macs // 2)), one()),
        (one(dataclasses.replace(COST, peak_bytes=400_000_000)), one()),
    ],
    ids=["psnr", "ssim", "lpips", "parameters", "macs", "memory"],
)
def test_the_score_rises_with_every_part(better, worse):
    assert better.total > worse.total
    assert better.quality >= worse.quality
    assert better.cost >= worse.cost


def test_the_score_is_bounded():
    best = one(Cost(1, 1, 1e-9, 1, (512, 512), ""), psnr=90, ssim=1, lpips=0)
    worst = one(Cost(10**12, 10**18, 1e9, 10**15, (512, 512), ""), psnr=2, ssim=-1, lpips=2)
    assert tuple(best) == pytest.approx((1, 1, 1))
    assert tuple(worst) == (0, 0, 0)


def test_seven_tenths_are_quality():
    result = one()
    assert result.total == pytest.approx(0.7 * result.quality + 0.3 * result.cost)


def test_another_contender_changes_nothing():
    alone = score(evaluation({"net": (COST, values())}))["net"]
    beside = evaluation({"net": (COST, values()), "best": (COST, values(psnr=39, ssim=1, lpips=0))})
    assert score(beside)["net"] == alone


def test_time_and_the_machine_change_nothing():
    assert one(dataclasses.replace(COST, seconds=99, device="another")) == one()


def test_the_size_that_costs_were_measured_at_hardly_matters():
    """Operations and features grow with the pixels; weights do not."""
    weights = 4 * COST.parameters
    large = dataclasses.replace(
        COST, macs=4 * COST.macs, peak_bytes=4 * (COST.peak_bytes - weights) + weights, size=(1024, 1024)
    )
    assert cost_of(large) == pytest.approx(cost_of(COST))


def test_without_lpips_the_others_weigh_half_each():
    plain = {name: column for name, column in values().items() if name != "lpips"}
    assert quality_of(evaluation({"net": (COST, plain)}), "net") == pytest.approx((1 / 3 + 2 / 3) / 2)


def test_a_broken_photo_counts_as_nothing():
    half = {name: [column[0], None] for name, column in values().items()}
    whole = {name: [column[0], column[0]] for name, column in values().items()}
    result = quality_of(evaluation({"net": (COST, half)}), "net")
    assert result == pytest.approx(quality_of(evaluation({"net": (COST, whole)}), "net") / 2)


@pytest.mark.parametrize("measure", ["psnr", "ssim", "lpips"])
@pytest.mark.parametrize("value", [-1.0, 0.0, 0.3, 5.0, 50.0])
def test_to_break_on_a_photo_never_pays(measure, value):
    kept = values()
    kept[measure][0] = value
    broken = {name: [None if name == measure else column[0], column[1]] for name, column in kept.items()}
    found = [quality_of(evaluation({"net": (COST, each)}), "net") for each in (broken, kept)]
    assert found[0] <= found[1]


def test_a_photo_that_is_broken_itself_counts_for_nobody():
    half = {name: [column[0], None] for name, column in values().items()}
    whole = {name: [column[0], column[0]] for name, column in values().items()}
    both = evaluation({SOURCE: (None, half), "net": (COST, half)})
    assert quality_of(both, "net") == pytest.approx(quality_of(evaluation({"net": (COST, whole)}), "net"))


def test_what_lacks_a_target_or_a_cost_has_no_score():
    several = evaluation({SOURCE: (None, values()), "blind": (COST, {"niqe": [3.0, 4.0]}), "net": (COST, values())})
    assert list(score(several)) == ["net"]


def test_the_worked_example_of_the_docs_is_right():
    text = DOCS.read_text(encoding="utf-8").split("## The score", 1)[1]
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL).group(1))
    result = score(
        evaluation(
            {
                "net": (
                    Cost(**{**example["cost"], "size": tuple(example["cost"]["size"])}),
                    {name: [value, value] for name, value in example["means"].items()},
                )
            }
        )
    )["net"]
    assert {name: round(value, 3) for name, value in result._asdict().items()} == example["score"]


def test_the_front_is_those_that_none_beats():
    marks = [
        Mark(str(n), cost, quality, 0) for n, (cost, quality) in enumerate([(1, 0.2), (2, 0.1), (3, 0.5), (3, 0.4)])
    ]
    found = front(marks)
    assert [mark.name for mark in found] == ["0", "2"]
    for mark in marks:
        beaten = any(o.cost <= mark.cost and o.quality >= mark.quality and o != mark for o in marks)
        assert beaten != (mark in found)


def crowd(number=12):
    """Many networks close together: names have to make room for each other."""
    found = {SOURCE: (None, values(psnr=14))}
    for n in range(number):
        cost = dataclasses.replace(COST, macs=COST.macs + n * 10**9)
        found[f"a network with a rather long name {n}"] = (cost, values(psnr=20 + 0.05 * n))
    return evaluation(found)


def test_names_overlap_neither_each_other_nor_the_marks(monkeypatch):
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    boxes = []

    def look(figure, *_, **__):
        figure.draw_without_rendering()
        (axes,) = figure.axes
        names = [text for text in axes.texts if "rather long" in text.get_text()]
        boxes.extend(text.get_window_extent() for text in axes.texts if text.get_text())
        assert len(names) == 12
        for line in axes.lines:
            if line.get_marker() == "o":
                for x, y in axes.transData.transform(line.get_xydata()):
                    boxes.append(Bbox.from_bounds(x - 3, y - 3, 6, 6))
        for box in boxes:
            assert axes.get_window_extent().x0 <= box.x0
            assert box.x1 <= figure.bbox.x1

    monkeypatch.setattr(Figure, "savefig", look)
    with pytest.raises(ValueError, match="substring not found"):  # nothing was written
        pareto_svg([crowd()])
    assert len(boxes) == 12 + 1 + 12
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_the_svg_stands_alone_and_is_the_same_every_time():
    svg = pareto_svg([crowd(3)])
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert svg == pareto_svg([crowd(3)])
    texts = ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]
    assert sum("rather long name" in text for text in texts) == 3
    assert "untouched" in texts
    links = [value for each in root.iter() for name, value in each.attrib.items() if name.endswith("href")]
    assert all(link.startswith("#") for link in links)
    assert "url(http" not in svg
    assert "*{" not in svg.replace("svg.pareto *{", "")  # no rule for the page around it


def test_the_svg_follows_the_colours_of_its_page():
    svg = pareto_svg([crowd(3)])
    root = ElementTree.fromstring(svg)
    assert "currentColor" in svg
    assert "prefers-color-scheme:dark" in svg
    for text in root.iter(f"{SVG}text"):
        assert "currentColor" in text.get("style", "")
    # Both scheme-independent colours can be told from white and from black.
    for color in ("#e07b00", "#2f7ed8"):
        red, green, blue = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert min(1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05) > 2.5


def test_strange_names_are_written_as_they_are():
    svg = pareto_svg([evaluation({"<b>$x_1$ & co": (COST, values())})])
    texts = ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert any(text.startswith("<b>$x_1$ & co") for text in texts)


def test_the_table_is_sorted_by_score():
    both = evaluation({"worse": (COST, values(psnr=15)), "better": (COST, values(psnr=25))})
    rows = score_table([both]).splitlines()
    assert {row.count("|") for row in rows} == {rows[0].count("|")}
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| better", "| worse"]


def write(folder, name, content):
    path = folder / name / "evaluation.json"
    path.parent.mkdir(parents=True)
    path.write_text(content.to_json())
    return path


def test_the_verb_gathers_evaluations(tmp_path, capsys):
    write(tmp_path / "all", "one", evaluation({SOURCE: (None, values(psnr=14)), "first": (COST, values())}))
    write(tmp_path / "all", "two", evaluation({"second": (COST, values(psnr=22))}))
    main(["pareto", str(tmp_path / "all"), f"--output={tmp_path / 'out' / 'pareto.svg'}"])
    out = capsys.readouterr().out
    assert out.index("| second |") < out.index("| first |")
    svg = (tmp_path / "out" / "pareto.svg").read_text()
    assert all(name in svg for name in ("first", "second", "untouched"))
    with Image.open(tmp_path / "out" / "pareto.png") as picture:
        assert picture.width > 800
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (lambda folder: None, [], "there is no such file or folder"),
        (lambda folder: (folder / "all").mkdir(), [], "no evaluation.json below this folder"),
        (lambda folder: write(folder / "all", "x", evaluation({"n": (None, values())})), [], "nothing has a score"),
        (
            lambda folder: [
                write(folder / "all", "x", evaluation({"n": (COST, values())})),
                write(folder / "all", "y", evaluation({"m": (COST, values())}, photos=("a", "c"))),
            ],
            [],
            "of different photos",
        ),
        (lambda folder: None, ["--output=picture.jpg"], "ends in .svg"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, capsys, monkeypatch, make, words, message):
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    with pytest.raises(SystemExit) as leave:
        main(["pareto", str(tmp_path / "all"), *words])
    assert leave.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.svg"))
