"""A run of `enhance` over many photos: what is taken, what is left, what is told, how it ends and goes on."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import Image

import hdr_lightning
from hdr_lightning.cli import main
from hdr_lightning.data.ahead import Opened, PhotosAhead, Unreadable
from hdr_lightning.data.files import read_photo
from hdr_lightning.inference import Editing, Enhancer, journal
from hdr_lightning.inference.journal import Journal

ODD = '{"source": 1, "source_state": 2, "target": [], "target_state": null, "making": 3}\n'
"""A line of the journal that has all its parts, and none as it should be."""


def enhance(*photos, checkpoint, output, words=()):
    given = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
    return main(["enhance", *map(str, photos), *given, "--output", str(output), *words])


def refusal(capsys, *photos, code=2, **options):
    with pytest.raises(SystemExit) as leave:
        enhance(*photos, **options)
    assert leave.value.code == code
    return capsys.readouterr().err


def lines(folder, name="journal.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture
def photos(photo):
    return [photo(f"in/{name}.png", seed=seed) for seed, name in enumerate("abc")]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


class TestWhichPhotos:
    def test_patterns_keep_what_lies_below_their_first_folder(self, checkpoint, photo, out, tmp_path):
        for name in ("in/a.png", "in/x/b.png", "in/x/y/c.png", "in/x/.d.png", "other/e.png"):
            photo(name)
        (tmp_path / "in" / "note.txt").write_text("no photo")
        enhance(tmp_path / "in" / "**" / "*", checkpoint=checkpoint, output=out)
        assert {path.relative_to(out).as_posix() for path in out.rglob("*.png")} == {"a.png", "x/b.png", "x/y/c.png"}
        enhance(tmp_path / "*" / "?.png", checkpoint=checkpoint, output=tmp_path / "more")
        assert (tmp_path / "more" / "other" / "e.png").is_file()

    def test_a_name_with_brackets_is_a_photo_first(self, checkpoint, photo, out):
        enhance(photo("a[1].png"), checkpoint=checkpoint, output=out)
        assert (out / "a[1].png").is_file()

    def test_a_pattern_without_photos_is_told(self, checkpoint, out, tmp_path, capsys):
        assert "no photo matches" in refusal(capsys, tmp_path / "*.jpg", checkpoint=checkpoint, output=out)
        assert not out.exists()

    def test_what_an_earlier_run_wrote_is_no_input_of_a_pattern(self, checkpoint, photos, capsys):
        folder = photos[0].parent
        for _ in range(2):
            enhance(folder / "**" / "*.png", checkpoint=checkpoint, output=folder / "out")
        assert len(list((folder / "out").rglob("*.png"))) == 3

    def test_dry_run_writes_nothing(self, checkpoint, photos, out, capsys):
        assert enhance(*photos, checkpoint=checkpoint, output=out, words=["--dry_run"]) == []
        assert f"{photos[0]} -> {out / 'a.png'}" in capsys.readouterr().out
        assert not out.exists()


class TestSwitches:
    """Options that are true or false need no value, and take no photo for one."""

    @pytest.mark.parametrize("words", [["--tta"], ["--tta=true"], ["--tta", "true"]])
    def test_on(self, checkpoint, photos, out, words):
        main(["enhance", *words, str(photos[0]), "--checkpoint", str(checkpoint), "--output", str(out)])
        assert lines(out)[0]["making"]["tta"] is True

    @pytest.mark.parametrize("words", [["--tta=false"], ["--tta", "false"], []])
    def test_off(self, checkpoint, photos, out, words):
        main(["enhance", *words, str(photos[0]), "--checkpoint", str(checkpoint), "--output", str(out)])
        assert lines(out)[0]["making"]["tta"] is False

    def test_before_a_photo(self, checkpoint, photos, out):
        main(["enhance", "--checkpoint", str(checkpoint), "--output", str(out), "--tta", str(photos[0])])
        assert lines(out)[0]["making"]["tta"] is True

    def test_nonsense_is_refused(self, checkpoint, photos, out, capsys):
        assert "maybe" in refusal(capsys, photos[0], checkpoint=checkpoint, output=out, words=["--tta=maybe"])


class TestNetworks:
    def test_an_ensemble_is_averaged_and_told(self, checkpoint, photos, out, tmp_path, capsys):
        content = torch.load(checkpoint, weights_only=True)
        runs = [tmp_path / "folds" / f"fold_{fold}" / "fit_0" / "checkpoints" / "best.ckpt" for fold in range(2)]
        for fold, path in enumerate(runs):
            path.parent.mkdir(parents=True)
            weights = {name: value * (1 + fold / 10) for name, value in content["state_dict"].items()}
            torch.save({**content, "state_dict": weights}, path)
        enhance(photos[0], checkpoint=None, output=out, words=[f"--ensemble={tmp_path / 'folds'}"])
        told = capsys.readouterr().out
        assert "the average of 2 networks" in told
        assert all(str(path) in told for path in runs)
        enhance(photos[0], checkpoint=None, output=tmp_path / "two", words=[f"--ensemble=[{runs[0]},{runs[1]}]"])
        pixels = [read_photo(folder / "a.png").pixels.astype(int) for folder in (out, tmp_path / "two")]
        np.testing.assert_array_equal(*pixels)
        single = [np.asarray(hdr_lightning.load(run)(Image.open(photos[0])), int) for run in runs]
        unclipped = (np.minimum(*single) > 20) & (np.maximum(*single) < 235)
        assert np.abs(pixels[0] - sum(single) / 2)[unclipped].max() <= 1
        assert (single[0] != single[1]).any()

    @pytest.mark.parametrize("words", [[], ["--checkpoint=a.ckpt", "--ensemble=[b.ckpt]"]])
    def test_one_of_both_is_needed(self, photos, out, words, capsys):
        err = refusal(capsys, photos[0], checkpoint=None, output=out, words=words)
        assert "expected either --checkpoint or --ensemble" in err

    def test_options_reach_the_enhancer(self, checkpoint, photos, out):
        words = ["--tta", "--strength=0.7", "--sharpen=0.3", "--guard=false"]
        enhance(photos[0], checkpoint=checkpoint, output=out, words=words)
        same = hdr_lightning.load(checkpoint, editing=Editing(tta=True, strength=0.7, sharpen=0.3, guard=False))
        np.testing.assert_array_equal(read_photo(out / "a.png").pixels, same(read_photo(photos[0]).pixels))


class TestJournal:
    def test_it_says_what_was_done(self, checkpoint, photos, out):
        enhance(*photos, checkpoint=checkpoint, output=out)
        for line, photo in zip(lines(out), photos, strict=True):
            assert (line["source"], line["target"]) == (str(photo), photo.name)
            assert line["source_state"] == [photo.stat().st_size, photo.stat().st_mtime_ns]
            assert line["seconds"].keys() == {"reading", "network", "writing"}
            assert line["method"]
            assert line["seam"] == 0

    def test_what_is_done_is_left(self, checkpoint, photos, out, capsys):
        enhance(*photos[:2], checkpoint=checkpoint, output=out)
        before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
        written = enhance(*photos, checkpoint=checkpoint, output=out)
        assert [path.name for path in written] == ["a.png", "b.png", "c.png"]
        assert "1 photos with NAFNet" in (told := capsys.readouterr().out)
        assert "2 of 3 are done already" in told
        assert before.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}.items()
        assert len(lines(out)) == 3

    def test_which_network_was_taken_is_told(self, tmp_path, checkpoint, photos, out, capsys):
        best = tmp_path / "runs" / "second" / "fit_0" / "checkpoints" / "best.ckpt"
        best.parent.mkdir(parents=True)
        shutil.copy(checkpoint, best)
        enhance(photos[0], checkpoint=tmp_path / "runs", output=out)
        assert f"of {best} on cpu" in capsys.readouterr().out

    def test_what_was_deleted_is_made_again(self, checkpoint, photos, out):
        enhance(*photos, checkpoint=checkpoint, output=out)
        (out / "b.png").unlink()
        enhance(*photos, checkpoint=checkpoint, output=out)
        assert (out / "b.png").is_file()

    @pytest.mark.parametrize("cut", ['{"source": "/a.png", "tar', '{"source": 3}\n', "\x00\x00\n", "[1]\n", ODD])
    def test_damaged_lines_are_no_obstacle(self, checkpoint, photos, out, cut):
        enhance(*photos[:2], checkpoint=checkpoint, output=out)
        with (out / "journal.jsonl").open("a") as file:
            file.write(cut)
        enhance(*photos, checkpoint=checkpoint, output=out)
        assert json.loads((out / "journal.jsonl").read_text().splitlines()[-1])["target"] == "c.png"
        enhance(*photos, checkpoint=checkpoint, output=out)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda photo, out: Image.new("RGB", (9, 9)).save(photo), "has changed since it was made"),
            (lambda photo, out: (out / "a.png").write_bytes(b"edited"), "was changed since it was made"),
            (lambda photo, out: (out / "journal.jsonl").unlink(), "is there already"),
        ],
    )
    def test_what_has_changed_is_refused_by_name(self, checkpoint, photos, out, change, reason, capsys):
        enhance(*photos, checkpoint=checkpoint, output=out)
        change(photos[0], out)
        err = refusal(capsys, *photos, checkpoint=checkpoint, output=out)
        assert "a.png is there already" in err
        assert reason in err
        enhance(*photos, checkpoint=checkpoint, output=out, words=["--overwrite"])
        assert read_photo(out / "a.png").pixels.shape == read_photo(photos[0]).pixels.shape
        enhance(*photos, checkpoint=checkpoint, output=out)

    def test_other_settings_and_weights_are_refused_by_name(self, checkpoint, photos, out, tmp_path, capsys):
        enhance(*photos, checkpoint=checkpoint, output=out)
        err = refusal(capsys, *photos, checkpoint=checkpoint, output=out, words=["--sharpen=0.5"])
        assert "made with other sharpen (0.0, now 0.5)" in err
        content = torch.load(checkpoint, weights_only=True)
        content["state_dict"] = {name: value * 1.1 for name, value in content["state_dict"].items()}
        torch.save(content, tmp_path / "other.ckpt")
        err = refusal(capsys, *photos, checkpoint=tmp_path / "other.ckpt", output=out)
        assert "made with other weights" in err
        shutil.copy(checkpoint, tmp_path / "same.ckpt")
        words = ["--memory=1", "--guard=false"]  # which change no picture
        enhance(*photos, checkpoint=tmp_path / "same.ckpt", output=out, words=words)

    def test_a_photo_that_changes_while_it_is_enhanced_is_not_done(self, checkpoint, photos, out, capsys, monkeypatch):
        edit = Enhancer.edit

        def edit_while_it_changes(enhancer, image):
            photos[0].unlink()
            return edit(enhancer, image)

        monkeypatch.setattr(Enhancer, "edit", edit_while_it_changes)
        enhance(photos[0], checkpoint=checkpoint, output=out)
        Image.new("RGB", (9, 9)).save(photos[0])
        err = refusal(capsys, photos[0], checkpoint=checkpoint, output=out)
        assert "a.png has changed since it was made" in err

    def test_a_crash_before_a_photo_takes_its_place_is_no_obstacle(self, checkpoint, photos, out, monkeypatch):
        with monkeypatch.context() as crashing:
            crashing.setattr(Journal, "record", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                enhance(*photos, checkpoint=checkpoint, output=out)
        assert not list(out.glob("*.png"))
        enhance(*photos, checkpoint=checkpoint, output=out)
        assert len(lines(out)) == 3

    def test_a_full_disk_leaves_no_photo_without_a_line(self, checkpoint, photos, out, capsys, monkeypatch):
        def full(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as filling:
            filling.setattr(journal, "_is_cut", full)
            err = refusal(capsys, *photos, code=1, checkpoint=checkpoint, output=out)
        assert "journal.jsonl: cannot be written (No space left on device)" in err
        assert not list(out.glob("*.png"))
        enhance(*photos, checkpoint=checkpoint, output=out)

    def test_a_journal_that_cannot_be_read_is_told(self, checkpoint, photos, out, capsys):
        (out / "journal.jsonl").mkdir(parents=True)
        assert "journal.jsonl: cannot be read" in refusal(capsys, *photos, checkpoint=checkpoint, output=out)

    def test_lines_of_another_process_hide_none(self, checkpoint, photos, out):
        enhance(*photos, checkpoint=checkpoint, output=out)
        old = {**lines(out)[0], "target_state": [1, 1]}
        (out / "journal_1.jsonl").write_text(json.dumps(old) + "\n")
        enhance(*photos, checkpoint=checkpoint, output=out)

    def test_a_failed_photo_is_tried_again(self, checkpoint, photos, out, capsys):
        whole = photos[1].read_bytes()
        photos[1].write_bytes(whole[:100])
        err = refusal(capsys, *photos, code=1, checkpoint=checkpoint, output=out)
        assert "1 of 3 photos were not enhanced; the others are done" in err
        assert "b.png" in err
        photos[1].write_bytes(whole)
        enhance(*photos, checkpoint=checkpoint, output=out)
        assert sorted(line["target"] for line in lines(out)) == ["a.png", "b.png", "c.png"]


def test_compare_shows_source_and_result_side_by_side(checkpoint, photos, out):
    enhance(*photos, checkpoint=checkpoint, output=out)
    enhance(*photos, checkpoint=checkpoint, output=out, words=["--compare"])
    for photo in photos:
        both = read_photo(out / "compare" / f"{photo.name}.jpg").pixels.astype(int)
        source, result = (read_photo(path).pixels.astype(int) for path in (photo, out / photo.name))
        assert both.shape == (24, 2 * 32 + 2, 3)
        assert np.abs(both[:, :31] - source[:, :31]).mean() < 8
        assert np.abs(both[:, -31:] - result[:, -31:]).mean() < 8


def test_no_comparison_takes_the_place_of_a_photo(checkpoint, photo, out, capsys):
    for name in ("in/a.jpg", "in/compare/a.jpg.jpg"):
        photo(name)
    err = refusal(capsys, photo("in/b.png").parent, checkpoint=checkpoint, output=out, words=["--compare"])
    assert "where --compare shows" in err
    assert not out.exists()


def test_the_time_of_each_part_is_told(checkpoint, photos, out, capsys):
    enhance(*photos, checkpoint=checkpoint, output=out)
    told = capsys.readouterr().out
    assert "3 photos: network " in told
    assert "of the time waiting" in told


class TestReadingAhead:
    def test_all_photos_in_their_order_and_no_more_than_two_ahead(self, photo, monkeypatch):
        paths = [photo(f"{number}.png", seed=number) for number in range(6)]
        paths[3].write_bytes(b"")
        begun = []

        def read(path):
            begun.append(path)
            return read_photo(path)

        monkeypatch.setattr("hdr_lightning.data.ahead.read_photo", read)
        for number, opened in enumerate(PhotosAhead(paths)):
            time.sleep(0.02)
            assert opened.path == paths[number]
            assert isinstance(opened, Unreadable if number == 3 else Opened)
            assert number < len(begun) <= number + 3

    def test_one_ahead_where_photos_are_large(self, photo, monkeypatch):
        monkeypatch.setattr("hdr_lightning.data.ahead.SMALL", 0)
        begun = []
        monkeypatch.setattr("hdr_lightning.data.ahead.read_photo", lambda path: begun.append(path) or read_photo(path))
        for number, _ in enumerate(PhotosAhead([photo(f"{number}.png") for number in range(5)])):
            time.sleep(0.02)
            assert len(begun) <= number + 2


SLOW = """
import sys, time
from hdr_lightning.cli import main
from hdr_lightning.generators import NAFNet

inner, passes = NAFNet.forward, []
def forward(self, image):
    passes.append(image)
    if len(passes) == 3:
        print("third", flush=True)
        time.sleep(60)
    return inner(self, image)

NAFNet.forward = forward
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly_and_the_same_command_goes_on(checkpoint, photos, out, number, code, capsys):
    words = ["enhance", *map(str, photos), "--checkpoint", str(checkpoint), "--output", str(out), "--device=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    while "third" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "interrupted: 2 of 3 photos are done; the same command goes on" in err
    assert "Traceback" not in err
    assert [line["target"] for line in lines(out)] == ["a.png", "b.png"]
    assert not list(out.glob(".*"))
    main(words)
    assert "2 of 3 are done already" in capsys.readouterr().out
    assert [line["target"] for line in lines(out)] == ["a.png", "b.png", "c.png"]


def predict(checkpoint, folder, out, *words):
    given = [f"--ckpt_path={checkpoint}", f"--data.photos={folder}", f"--enhance.output={out}", *words]
    return ["predict", *TINY, *given, f"--trainer.default_root_dir={out}.runs"]


class TestPredict:
    """The trainer's way to enhance a large folder: the same options, journal and results."""

    def test_the_same_options_give_the_same_photos(self, checkpoint, photos, out, tmp_path):
        folder = photos[0].parent
        options = {"tta": "true", "strength": 0.7, "sharpen": 0.3, "compare": "true"}
        main(predict(checkpoint, folder, out, *(f"--enhance.{name}={value}" for name, value in options.items())))
        words = [f"--{name}={value}" for name, value in options.items()]
        enhance(folder, checkpoint=checkpoint, output=tmp_path / "enhanced", words=words)
        for name in ("a.png", "b.png", "c.png", "compare/a.png.jpg"):
            assert (out / name).read_bytes() == (tmp_path / "enhanced" / name).read_bytes()

    def test_each_goes_on_where_the_other_stopped(self, checkpoint, photos, out, capsys):
        enhance(photos[0], checkpoint=checkpoint, output=out)
        main(predict(checkpoint, photos[0].parent, out))
        assert len(lines(out)) == 3
        enhance(photos[0].parent, checkpoint=checkpoint, output=out)
        assert "3 of 3 are done already" in capsys.readouterr().out
        main(predict(checkpoint, photos[0].parent, out))
        assert len(lines(out)) == 3

    def test_a_photo_that_fails_is_named_and_the_others_are_done(self, checkpoint, photos, out, capsys):
        photos[1].write_bytes(b"")
        with pytest.raises(SystemExit) as leave:
            main(predict(checkpoint, photos[0].parent, out))
        assert leave.value.code == 1
        err = capsys.readouterr().err
        assert "1 of 3 photos were not enhanced; the others are done" in err
        assert str(photos[1]) in err
        assert {path.name for path in out.glob("*.png")} == {"a.png", "c.png"}

    def test_the_guard_watches(self, checkpoint, photos, out, tmp_path, capsys):
        content = torch.load(checkpoint, weights_only=True)
        content["state_dict"] = {name: value * torch.nan for name, value in content["state_dict"].items()}
        torch.save(content, tmp_path / "broken.ckpt")
        with pytest.raises(SystemExit) as leave:
            main(predict(tmp_path / "broken.ckpt", photos[0].parent, out))
        assert leave.value.code == 1
        assert "3 of 3 photos were not enhanced" in capsys.readouterr().err
        main(predict(tmp_path / "broken.ckpt", photos[0].parent, out, "--enhance.guard=false"))
        assert len(list(out.glob("*.png"))) == 3

    def test_shares_of_weights_are_refused(self, checkpoint, photos, out, capsys):
        with pytest.raises(SystemExit):
            main(predict(checkpoint, photos[0].parent, out, "--trainer.strategy=fsdp2"))
        assert "set trainer.strategy to ddp or auto" in capsys.readouterr().err

    @pytest.mark.parametrize("number", [5, pytest.param(1, marks=pytest.mark.slow)])
    def test_two_processes_share_a_folder(self, checkpoint, photo, out, tmp_path, number):
        """An odd number, and fewer photos than processes."""
        paths = [photo(f"in/{index}.png", seed=index) for index in range(number)]
        if number > 1:
            paths[1].write_bytes(b"")
        words = predict(checkpoint, paths[0].parent, out, "--trainer.devices=2", "--trainer.strategy=ddp")
        command = [sys.executable, "-m", "hdr_lightning", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == (1 if number > 1 else 0), done.stderr[-3000:]
        assert ("1 of 5 photos were not enhanced" in done.stderr) == (number > 1)
        good = [path for path in paths if path.stat().st_size]
        written = [line["target"] for path in out.glob("journal*.jsonl") for line in lines(out, path.name)]
        assert sorted(written) == [path.name for path in good]
        assert number == 1 or (out / "journal_1.jsonl").is_file()
        enhance(*good, checkpoint=checkpoint, output=tmp_path / "alone")
        for path in good:
            assert (out / path.name).read_bytes() == (tmp_path / "alone" / path.name).read_bytes()


def test_the_guard_leaves_ordinary_noise_alone(checkpoint, photo):
    """The photos of these tests are noise, which is the least like a photo that a photo can be."""
    enhancer = hdr_lightning.load(checkpoint, device="cpu")
    assert isinstance(enhancer, Enhancer)
    enhancer(read_photo(photo()).pixels)
