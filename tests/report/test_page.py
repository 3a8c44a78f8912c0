import csv
import json
import re
from dataclasses import replace

import pytest
from report.conftest import BRIGHT, DARK
from scipy import stats

from hdr_lightning.cli import main
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Contender, Cost, Evaluation
from hdr_lightning.evaluation.score import Score
from hdr_lightning.report import page as page_module
from hdr_lightning.report.curves import read_curves
from hdr_lightning.report.page import shown_places, write_report
from hdr_lightning.report.summary import ranked, summary


@pytest.fixture
def evaluation(written):
    return Evaluation.from_json(written / "evaluation.json")


def test_means_and_gains_are_those_of_scipy(evaluation):
    """Of photos that count for both."""
    lines = {line.measure: line.cells for line in summary(evaluation)}
    source, bright = (evaluation.values[name]["psnr"] for name in (SOURCE, "bright"))
    sound = [value for value in bright if value is not None]
    cell = lines["psnr"]["bright"]
    assert cell.photos == 4
    assert cell.mean.mean == pytest.approx(stats.tmean(sound))
    paired = [new - old for old, new in zip(source, bright, strict=True) if new is not None]
    assert cell.gain.mean == pytest.approx(stats.tmean(paired))
    assert lines["psnr"][SOURCE].photos == 5
    assert lines["ssim"]["bright"].photos == 3
    assert lines["l1"]["bright"].improved
    assert lines["l1"]["bright"].gain.mean < 0


def test_photos_at_fault_come_first_then_those_that_gain_least(evaluation):
    order = ranked(evaluation)
    assert evaluation.photos[order[0]].name == "broken.jpg"
    source, bright = (evaluation.values[name]["psnr"] for name in (SOURCE, "bright"))
    gains = [bright[place] - source[place] for place in order[1:]]
    assert gains == sorted(gains)
    assert shown_places(evaluation, 3) == [order[0], order[1], order[-1]]


def test_the_csv_has_a_row_a_photo_and_contender(written, evaluation):
    with (written / "photos.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15
    by_name = {(row["photo"], row["contender"]): row for row in rows}
    for place, photo in enumerate(evaluation.photos):
        for contender in evaluation.contenders:
            row = by_name[photo.name, contender.name]
            value = evaluation.values[contender.name]["psnr"][place]
            assert row["psnr"] == ("" if value is None else f"{value:.6g}")
            assert (written / row["picture"]).is_file()
    assert by_name["broken.jpg", "bright"]["fault"] == "3 values are not finite"


def test_the_markdown_has_tables_whose_columns_agree_and_links_that_lead_somewhere(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(tables) >= 3
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    links = re.findall(r"\[picture\]\((.*?)\)", text)
    assert len(links) == 15
    assert all((written / link).is_file() for link in links)
    assert "<script>" not in text


def test_one_scene_has_no_interval(evaluated, tmp_path):
    evaluation, gallery = evaluated(tmp_path)
    evaluation.photos = [replace(photo, group="one") for photo in evaluation.photos]
    page = write_report(evaluation, gallery, tmp_path)
    for shown in (page, tmp_path / "report.md"):
        text = shown.read_text(encoding="utf-8").partition('id="data"')[0]
        assert "one scene" in text
        assert not re.search(r"\bnan\b", text)


def test_who_breaks_on_hard_photos_is_not_the_best_for_it(evaluated, tmp_path):
    evaluation, _ = evaluated(tmp_path)
    columns = {SOURCE: [10.0] * 5, BRIGHT: [None, 20.0, 20.0, 20.0, 20.0], DARK: [10.0, 21.0, 21.0, 21.0, 21.0]}
    evaluation.values = {name: {"psnr": column} for name, column in columns.items()}
    evaluation.faults = {BRIGHT: {evaluation.photos[0].name: "broken"}}
    (line,) = summary(evaluation)
    assert line.cells[BRIGHT].mean.mean > line.cells[DARK].mean.mean
    assert [name for name, cell in line.cells.items() if cell.best] == [DARK]


def test_the_page_names_no_address_and_its_data_is_json(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "http" not in text.replace("http-equiv", "")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert len(data["shots"]) == 5
    assert "&lt;b&gt;NAFNet&lt;/b&gt;" in text
    assert "no cost" not in text
    assert 'id="cost"' not in text


def test_pictures_beyond_the_gallery_are_not_embedded(evaluated, tmp_path):
    write_report(*evaluated(tmp_path, shown=2), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert len(data["shots"]) == 2
    thumbnails = [path for path in data["pictures"] if "crop" not in path]
    assert len(thumbnails) == 2 * (2 + 2 + 2)  # source, target, two outputs, two differences
    assert text.count("<tr><td title=") == 15


def test_cost_score_and_pareto_picture_are_shown_where_they_were_measured(evaluated, tmp_path, monkeypatch):
    evaluation, gallery = evaluated(tmp_path)
    cost = Cost(1_234_567, 89_000_000_000, 0.5, 321_000_000, (512, 768), "one <core>")
    evaluation.contenders[1] = Contender("bright", "runs/bright", "NAFNet", cost)
    monkeypatch.setattr(page_module, "score", lambda given: {"bright": Score(0.75, 0.7, 0.8)})
    monkeypatch.setattr(page_module, "pareto_svg", lambda given: "<svg/>")
    text = write_report(evaluation, gallery, tmp_path).read_text(encoding="utf-8")
    assert "1.23</td>" in text
    assert "89.00</td>" in text
    assert "0.750</td>" in text
    assert "one &lt;core&gt;" in text
    assert "data:image/svg+xml;base64,PHN2Zy8+" in text
    assert "1,234,567" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_without_targets_there_is_no_gain(evaluated, tmp_path):
    """Only NIQE, and only of outputs."""
    evaluation, gallery = evaluated(tmp_path)
    for shot in gallery.shots:
        shot.target, shot.differences, shot.crops = "", {}, {}
        shot.histograms.pop("")
    evaluation.values = {SOURCE: {}, "bright": {"niqe": [5.0, 4.0, 6.0, None, 3.0]}}
    text = write_report(evaluation, gallery, tmp_path).read_text(encoding="utf-8")
    assert "Gain of each photo" not in text
    assert 'data-over="target"' not in text
    assert MEASURES["niqe"].title in text
    assert [evaluation.photos[place].name for place in ranked(evaluation)][:2] == [
        "broken.jpg",
        "größe & \u202egpj.jpg",
    ]


def test_the_verb_writes_a_page_anew(written, tmp_path, capsys):
    before = (written / "report.html").read_bytes()
    (written / "report.html").unlink()
    main(["report", str(written)])
    assert (written / "report.html").read_bytes() == before
    with pytest.raises(SystemExit) as leave:
        main(["report", str(tmp_path)])
    assert leave.value.code == 2
    assert "evaluation.json: expected an evaluation.json that `evaluate` wrote" in capsys.readouterr().err


def test_the_course_of_a_sick_or_killed_run_is_drawn(tmp_path):
    """What is not finite has no place in a picture, and half a line may hold half a number."""
    table = tmp_path / "metrics.csv"
    table.write_text("step,val/psnr\n9,10.0\n19,nan\n29,12.0\n3,1e-")
    [curve] = read_curves(table)
    assert (curve.low, curve.high, curve.last) == (10.0, 12.0, 12.0)
    assert curve.line == "0.0,100.0 300.0,0.0"
