"""The verb, its files, what training makes of them, and what it remembers."""

import json
import re
import shutil

import pytest
from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.data.audit import audit, check_pairs, examination
from hdr_lightning.data.manifest import located, read_pairs
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.quarantine import read_quarantine, without, write_quarantine
from hdr_lightning.data.splits import split_pairs
from hdr_lightning.errors import InputError


def test_a_sound_set_leaves_with_0_and_the_report_says_so(demo, tmp_path, capsys):
    page = main(["audit", str(demo), "--test=2", "--output", str(tmp_path / "audit")])
    assert "nothing was found" in capsys.readouterr().out
    assert "Nothing was found" in page.read_text()
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["findings"] == []
    assert read_quarantine(tmp_path / "audit" / "quarantine.jsonl") == set()


def test_errors_leave_with_2_after_everything_is_written(manifest, tmp_path, capsys):
    path = manifest(10, height=64, width=64)
    (path.parent / "7_src.png").unlink()
    with pytest.raises(SystemExit) as left:
        main(["audit", str(path), "--test=2", "--output", str(tmp_path / "audit")])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert re.search(r"Files that are not there +1", said.out)
    assert "the audit found 1 error: see" in said.err
    findings = json.loads((tmp_path / "audit" / "audit.json").read_text())["findings"]
    assert ["7_src.png"] in [finding["leave_out"] for finding in findings if finding["kind"] == "missing"]
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "7_src.png" in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # works offline


def test_a_page_shows_names_as_they_are_and_runs_none_of_them(manifest, tmp_path):
    path = manifest(6)
    name = "<img onerror=alert(1)>.png"
    rows = path.read_text().replace("5_src.png", name)
    path.write_text(rows)
    with pytest.raises(InputError):
        audit([path], test=1, output=tmp_path / "audit")
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert name not in page
    assert "&lt;img onerror" in page


def test_training_leaves_out_what_is_in_quarantine(manifest, tmp_path):
    path = manifest(12, height=64, width=64)
    (path.parent / "7_src.png").unlink()
    with pytest.raises(InputError):
        audit([path], test=2, output=tmp_path / "audit")
    list_of_it = tmp_path / "audit" / "quarantine.jsonl"
    whole = PairDataModule(path, test=2).split
    rest = PairDataModule(path, test=2, quarantine=list_of_it).split
    out = {pair.name for pair in rest.quarantined}
    assert "7_src.png" in out
    for before, after in zip(whole.items(), rest.items(), strict=True):
        assert [pair.name for pair in before[1] if pair.name not in out] == [pair.name for pair in after[1]]


def test_a_run_says_how_many_pairs_are_left_out(manifest, tmp_path, caplog):
    path = manifest(12)
    main(["fingerprint", str(path)])
    (path.parent / "7_src.png").unlink()
    listed = path.parent / "bad.jsonl"
    listed.write_text('{"src": "7_src.png", "why": "lost"}\n')
    options = [f"--data.pairs={path}", f"--data.quarantine={listed}", "--data.test=2", "--trainer.max_epochs=1"]
    main(["fit", f"--trainer.default_root_dir={tmp_path / 'runs'}", *options, *TINY])
    said = r"pairs: 8 train, 1 validation, 2 test \(held out\), 1 left out \(.*bad.jsonl\)"
    assert re.search(said, caplog.text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "expected one JSON object a line"),
        ('{"tar": "1.png"}', 'expected the keys "src"'),
        ('{"src": 3}', 'expected the keys "src"'),
        (None, "there is no such quarantine list"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path, text, message):
    path = tmp_path / "quarantine.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_quarantine(path)


@pytest.mark.parametrize("name", ["back\\slash.png", "line\u2028end.png", "a b.png"])
def test_odd_names_are_left_out_too(manifest, tmp_path, name):
    path = manifest(8)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"src": name, "tar": "x.png"}, ensure_ascii=False) + "\n")
    pairs = read_pairs(path)
    listed = tmp_path / "elsewhere" / "quarantine.jsonl"
    write_quarantine(listed, {pairs[8]: "odd"})
    parts = without(split_pairs(pairs, 2, 0.2, 0), read_quarantine(listed))
    assert [pair.name for pair in parts.quarantined] == [name]


def test_quarantine_of_all_is_refused(manifest):
    pairs = read_pairs(manifest(8))
    with pytest.raises(InputError, match="no training pair is left: 6 pairs are in quarantine"):
        without(split_pairs(pairs, 2, 0.2, 0), {located(pair.source) for pair in pairs[2:]})


@pytest.fixture
def opened(monkeypatch):
    """The photos that a check opens."""
    paths = []
    inner = examination.examine
    monkeypatch.setattr(examination, "examine", lambda path: (paths.append(path.name), inner(path))[1])
    return paths


def test_a_second_check_opens_only_what_has_changed(manifest, photo, opened):
    pairs = read_pairs(manifest(4))
    first = check_pairs(pairs, crop=24)
    assert len(opened) == 8
    opened.clear()
    assert check_pairs(pairs, crop=24) == first
    assert opened == []
    photo("data/2_tar.png", seed=99, compress_level=1)
    assert check_pairs(pairs, crop=24) != first
    assert opened == ["2_tar.png"]


def test_a_spoilt_memory_is_forgotten(manifest, opened, cache_folder):
    pairs = read_pairs(manifest(3))
    check_pairs(pairs, crop=None)
    opened.clear()
    for path in cache_folder.rglob("*.json"):
        path.write_text('{"half')
    check_pairs(pairs, crop=None)
    assert len(opened) == 6


@pytest.mark.parametrize("row", [3, [1, 2], {}, None])
def test_a_spoilt_row_of_the_memory_is_forgotten_alone(manifest, opened, monkeypatch, tmp_path, row):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "memory"))
    pairs = read_pairs(manifest(3))
    check_pairs(pairs, crop=None)
    opened.clear()
    (memory,) = (tmp_path / "memory").rglob("*.json")
    memory.write_text(json.dumps(json.loads(memory.read_text()) | {str(pairs[1].source.absolute()): row}))
    check_pairs(pairs, crop=None)
    assert opened == [pairs[1].source.name]


def test_where_nothing_can_be_remembered_the_check_goes_on(manifest, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with pytest.warns(UserWarning, match="the next run will check the photos again"):
        assert len(check_pairs(read_pairs(manifest(2)), crop=None)) == 2


def test_a_check_writes_nothing_beside_the_photos(manifest):
    path = manifest(3)
    before = sorted(path.parent.iterdir())
    check_pairs(read_pairs(path), crop=None)
    assert sorted(path.parent.iterdir()) == before


def test_a_check_that_is_off_opens_no_photo(manifest, opened, tmp_path, caplog):
    path = manifest(12)
    options = [f"--data.pairs={path}", "--data.test=2", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    main(["fit", *options, "--data.check=false", "--trainer.max_epochs=1", *TINY])
    assert opened == []
    assert "photos are not looked at before they are used" in caplog.text


def test_equal_pixels_in_two_parts_are_refused_whatever_the_files(manifest, tmp_path):
    from PIL import Image

    path = manifest(12)
    whole = PairDataModule(path, test=2).split
    Image.open(whole.validation[0].source).save(whole.train[0].source, compress_level=1)
    options = [f"--data.pairs={path}", "--data.test=2", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    with pytest.raises(SystemExit):
        main(["fit", *options, *TINY])


@pytest.mark.parametrize("from_file", [True, False])
def test_folds_are_audited_against_each_other_unless_one_is_named(manifest, tmp_path, capsys, from_file):
    path = manifest(14, height=64, width=64)
    words = ["--test=2", "--folds=3"]
    split = main(["split", str(path), *words])
    folds = json.loads(split.read_text())["folds"]
    shutil.copy(path.parent / folds[1][0], path.parent / folds[2][0])  # in training together where fold 0 validates
    words = [f"--split={split}"] if from_file else words
    audited = ["audit", str(path), *words, f"--output={tmp_path / 'audit'}"]
    with pytest.raises(SystemExit):
        main(audited)
    said = capsys.readouterr().out
    assert re.search(r"pairs: 2 test, 4 fold 0, 4 fold 1, 4 fold 2", said)
    assert "on two sides of the split (fold 1 and fold 2) hold the same photo" in said
    assert [row["src"] for row in lines(tmp_path / "audit" / "quarantine.jsonl")] == [f"../data/{folds[1][0]}"]
    main([*audited, "--fold=0"])
    assert "pairs: 2 test, 8 training, 4 validation" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*audited, "--fold=3"])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tolerance=-1"], "tolerance is to be 0 pixels or more, got -1.0"),
        (["--tolerance=.nan"], "tolerance is to be 0 pixels or more, got nan"),
        (["--folds=-1"], "and a fold below folds"),
        (["--fold=1"], "fold is 1, and there are none"),
        (["--output={manifest}"], "is a file: give --output a folder"),
        (["--output={manifest}/audit"], "cannot write there"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_photo_is_opened(manifest, opened, capsys, words, message):
    path = manifest(8)
    with pytest.raises(SystemExit):
        main(["audit", str(path), "--test=2", *(word.format(manifest=path) for word in words)])
    assert message in capsys.readouterr().err
    assert opened == []


def test_a_fold_of_a_file_without_folds_is_refused(manifest, tmp_path):
    path = manifest(8)
    split = main(["split", str(path), "--test=2"])
    with pytest.raises(InputError, match="holds no folds: leave out fold"):
        audit([path], split=split, fold=0, output=tmp_path / "audit")


@pytest.mark.parametrize("record", ["whole", "gone", "spoilt"])
def test_an_edited_quarantine_list_is_never_replaced(manifest, tmp_path, opened, record):
    path = manifest(8, height=64, width=64)
    for _ in range(2):  # one that nobody edited is
        audit([path], test=2, output=tmp_path / "audit")
    listed = tmp_path / "audit" / "quarantine.jsonl"
    listed.write_text('{"src": "../data/3_src.png", "why": "blurred"}\n')
    if record != "whole":
        (tmp_path / "audit" / "audit.json").write_text("[]")
    if record == "gone":
        (tmp_path / "audit" / "audit.json").unlink()
    opened.clear()
    with pytest.raises(InputError, match="quarantine.jsonl was edited since an audit wrote it"):
        audit([path], test=2, output=tmp_path / "audit")
    assert "blurred" in listed.read_text()
    assert opened == []
    listed.rename(tmp_path / "mine.jsonl")
    audit([path], test=2, output=tmp_path / "audit")
