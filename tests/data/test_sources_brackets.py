"""Brackets that make their own targets: rendered rooms photographed several times, with a hand that moves."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import ExifTags, Image
from skimage.metrics import peak_signal_noise_ratio

from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.rooms.furnish import Furnisher
from hdr_lightning.data.rooms.render import render
from hdr_lightning.data.sources import ExposureBrackets
from hdr_lightning.data.sources.fusion import align, fuse
from hdr_lightning.errors import InputError
from hdr_lightning.image.color import encode_srgb

MARGIN = 12


def exposures(seed, stops=(-2, 0, 2), shifts=((0, 0), (0, 0), (0, 0)), size=(96, 144)):
    """Photos of one rendered room; the content of each lies `shift` pixels right and down."""
    rng = np.random.default_rng([5, seed])
    light = render(Furnisher(rng).furnish(), *(length + 2 * MARGIN for length in size)).radiance
    light = light * np.float32(0.18 / np.exp(np.log(light.mean(axis=-1) + 1e-5).mean()))
    photos = []
    for stop, (x, y) in zip(stops, shifts, strict=True):
        seen = light[MARGIN - y : MARGIN - y + size[0], MARGIN - x : MARGIN - x + size[1]] * np.float32(2.0**stop)
        noise = rng.standard_normal(seen.shape, dtype=np.float32) * np.sqrt(seen * np.float32(4e-5) + np.float32(4e-8))
        encoded = encode_srgb(torch.from_numpy(np.clip(seen + noise, 0, 1))).numpy()
        photos.append((encoded * 255 + 0.5).astype(np.uint8))
    return photos


def mertens(photos):
    return cv2.createMergeMertens(1, 1, 1).process(photos).clip(0, 1)


@pytest.mark.parametrize("stops", [(-2, 0, 2), (-3, 0, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_known_shifts_are_undone_exactly(seed, stops):
    rng = np.random.default_rng(seed)
    shifts = [tuple(int(each) for each in rng.integers(-MARGIN, MARGIN + 1, 2)) for _ in stops]
    shifts[1] = (0, 0)
    moved, found = align(exposures(seed, stops, shifts), reference=1)
    assert found == shifts
    straight = exposures(seed, stops)
    height, width = moved[0].shape[:2]
    left, top = (max(0, *(-shift[axis] for shift in shifts)) for axis in (0, 1))
    for ours, theirs in zip(moved, straight, strict=True):
        difference = ours.astype(int) - theirs[top : top + height, left : left + width]
        assert np.abs(difference).mean() < 2  # the noise, which is another one


def test_large_photos_are_aligned_from_coarse_to_fine():
    """By the pixel, although shifts are sought at a quarter of the size."""
    picture = cv2.resize(exposures(0)[1], (1400, 1000), interpolation=cv2.INTER_CUBIC)
    dark = (picture[40:-40, 40:-40] // 4).astype(np.uint8)
    shifted = picture[40 + 31 : -40 + 31, 40 - 22 : -40 - 22]
    assert align([dark, shifted], reference=0)[1] == [(0, 0), (22, -31)]


def test_aligned_exposures_stay_as_they_are():
    photos = exposures(1)
    moved, shifts = align(photos, reference=1)
    assert shifts == [(0, 0)] * 3
    for ours, theirs in zip(moved, photos, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_fusion_is_that_of_opencv_at_any_depth():
    photos = exposures(2)
    theirs = mertens(photos)
    assert np.abs(fuse(photos) / 255.0 - theirs).max() <= 0.5 / 255 + 1e-5
    deep = [photo.astype(np.uint16) * 257 for photo in photos]
    assert fuse(deep).dtype == np.uint16
    assert np.abs(fuse(deep) / 65535.0 - theirs).max() <= 0.5 / 65535 + 1e-5
    floats = [photo.astype(np.float32) / 255 for photo in photos]
    np.testing.assert_allclose(fuse(floats), theirs, atol=1e-5)


def test_exposures_of_different_scenes_and_empty_ones_are_refused():
    room, other = exposures(3)[1], exposures(5)[1]
    for wrong in (other, np.zeros_like(room), np.full_like(room, 255)):
        with pytest.raises(InputError, match="the exposures show no common edges"):
            align([room, wrong], reference=0)


@pytest.fixture
def scenes(tmp_path):
    """A folder a scene: one taken by hand, two on a tripod; names do not tell the exposure."""
    for seed, shifts in ((0, ((5, -3), (0, 0), (-4, 2))), (1, ((0, 0),) * 3), (2, ((0, 0),) * 3)):
        folder = tmp_path / "brackets" / f"room {seed}"
        folder.mkdir(parents=True)
        for name, photo in zip(("b", "a", "c"), exposures(seed, shifts=shifts), strict=True):
            Image.fromarray(photo).save(folder / f"{name}.png")
    return tmp_path / "brackets"


def rows(manifest):
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def test_brackets_become_pairs_with_their_fusion(scenes, tmp_path, capsys):
    output = tmp_path / "fused"
    manifest = main(["fuse-brackets", str(scenes), f"--output={output}"])
    assert manifest == output / "pairs.jsonl"
    assert [(row["src"], row["tar"], row["group"]) for row in rows(manifest)][:4] == [
        ("source/room 0/b.png", "target/room 0.png", "room 0"),  # under, middle, over
        ("source/room 0/a.png", "target/room 0.png", "room 0"),
        ("source/room 0/c.png", "target/room 0.png", "room 0"),
        ("../brackets/room 1/b.png", "target/room 1.png", "room 1"),  # not moved: as it is, where it is
    ]
    for group in ("room 0", "room 1"):
        pairs = [row for row in rows(manifest) if row["group"] == group]
        sources = [read_photo(output / row["src"]).pixels for row in pairs]
        target = read_photo(output / pairs[0]["tar"]).pixels
        assert np.abs(target / 255.0 - mertens(sources)).max() <= 0.5 / 255 + 1e-5
        assert [photo.mean() for photo in sources] == sorted(photo.mean() for photo in sources)
    assert json.loads((output / "scenes" / "room 0.json").read_text())["shifts"] == [[5, -3], [0, 0], [-4, 2]]
    assert "9 pairs of 3 scenes, 3 of them fused now" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(scenes, tmp_path, capsys):
    main(["fuse-brackets", str(scenes), f"--output={tmp_path / 'fused'}", "--dry_run=true"])
    assert not (tmp_path / "fused").exists()
    out = capsys.readouterr().out
    assert "room 1: 3 exposures, a.png to c.png" in out
    assert "3 scenes, 9 exposures; nothing was written" in out


def test_it_goes_on_where_it_was_interrupted_and_sees_changes(scenes, tmp_path, monkeypatch, capsys):
    from hdr_lightning.data.sources import brackets

    words = ["fuse-brackets", str(scenes), f"--output={scenes / 'fused'}"]  # in the folder that it reads
    inner, calls = brackets.fuse, []

    def breaks(photos):
        calls.append(len(photos))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return inner(photos)

    monkeypatch.setattr(brackets, "fuse", breaks)
    with pytest.raises(KeyboardInterrupt):
        main(words)
    assert not (scenes / "fused" / "pairs.jsonl").exists()
    main(words)
    assert len(calls) == 4  # the first scene was not made again
    before = {path: path.stat().st_mtime_ns for path in (scenes / "fused").rglob("*.*")}
    main(words)
    assert {path: path.stat().st_mtime_ns for path in (scenes / "fused").rglob("*.*")} == before
    os.utime(scenes / "room 1" / "a.png", (1, 1))
    capsys.readouterr()
    main(words)
    assert "9 pairs of 3 scenes, 1 of them fused now" in capsys.readouterr().out
    assert not list(scenes.rglob("*.part"))


def test_scenes_that_cannot_be_fused_are_named_and_the_others_are_done(scenes, tmp_path, capsys):
    (scenes / "room 1" / "c.png").write_bytes((scenes / "room 1" / "c.png").read_bytes()[:900])
    with Image.open(scenes / "room 2" / "c.png") as image:
        image.resize((60, 40)).save(scenes / "room 2" / "c.png")
    with pytest.raises(SystemExit):
        main(["fuse-brackets", str(scenes), f"--output={tmp_path / 'fused'}"])
    error = capsys.readouterr().err
    assert "2 of 3 scenes cannot be fused" in error
    assert "c.png: the photo cannot be read" in error
    assert "room 2: the exposures have different sizes, 60 x 40 and 144 x 96" in error
    assert (tmp_path / "fused" / "target" / "room 0.png").is_file()
    assert not (tmp_path / "fused" / "pairs.jsonl").exists()


def flat(tmp_path, times=None):
    folder = tmp_path / "flat"
    folder.mkdir()
    for seed, room in enumerate(("hall", "bath")):
        for number, photo in enumerate(exposures(seed)):
            tags = Image.Exif()
            if times:
                taken = times[3 * seed + number]
                tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"2024:05:01 10:00:{int(taken):02d}"
                tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.SubsecTimeOriginal] = f"{taken % 1:.2f}"[2:]
                tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 2.0 if number == 2 else 0.01
            Image.fromarray(photo).save(folder / f"{room}_{number}.jpg", exif=tags, quality=95)
    return folder


def groups(folder, tmp_path, *words):
    manifest = main(["fuse-brackets", str(folder), f"--output={tmp_path / 'fused'}", *words])
    return [row["group"] for row in rows(manifest)]


def test_one_folder_is_grouped_by_name(tmp_path):
    assert groups(flat(tmp_path), tmp_path, "--group_by=name") == ["bath"] * 3 + ["hall"] * 3


def test_one_folder_is_grouped_by_time(tmp_path):
    """A gap counts from when the shutter closed: two seconds open are no pause."""
    folder = flat(tmp_path, [10.0, 10.5, 11.0, 14.9, 15.2, 16.0])
    assert groups(folder, tmp_path, "--group_by=time", "--gap=1.5") == ["hall_0"] * 3 + ["bath_0"] * 3


def test_wrong_groups_are_refused(tmp_path, capsys):
    folder = flat(tmp_path)
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([str(folder)], "lies in no folder of a scene: give each scene a folder of its own, or set group_by"),
        ([str(folder), "--group_by=time"], "expected the time at which it was taken in its EXIF block, got ''"),
        ([str(tmp_path / "empty")], "expected exposure brackets in this folder or below, found no photos"),
        ([str(tmp_path / "none")], "expected exposure brackets in"),
        ([str(folder), str(folder)], "expected one folder of brackets, got 2"),
    ):
        with pytest.raises(SystemExit):
            main(["fuse-brackets", *words, f"--output={tmp_path / 'fused'}"])
        assert message in capsys.readouterr().err
    (folder / "hall_1.jpg").unlink()
    (folder / "hall_2.jpg").unlink()
    with pytest.raises(SystemExit):
        main(["fuse-brackets", str(folder), f"--output={tmp_path / 'fused'}", "--group_by=name"])
    assert "expected 2 to 24 exposures a scene, got 1 for hall" in capsys.readouterr().err


@pytest.mark.parametrize("dry", ["true", "false"])
def test_a_photo_in_two_formats_is_refused_by_name(scenes, tmp_path, capsys, dry):
    """Where exposures are moved, both would be written under one name."""
    with Image.open(scenes / "room 0" / "b.png") as image:
        image.save(scenes / "room 0" / "b.jpg")
    with pytest.raises(SystemExit):
        main(["fuse-brackets", str(scenes), f"--output={tmp_path / 'fused'}", f"--dry_run={dry}"])
    error = capsys.readouterr().err
    assert "b.jpg and " in error
    assert "b.png are one exposure of room 0 by their names" in error
    assert not (tmp_path / "fused").exists()


def test_sources_are_found_through_links(scenes, tmp_path, monkeypatch, capsys):
    """Also from a working folder and a folder of brackets that are links themselves."""
    (tmp_path / "elsewhere" / "deep" / "disk").mkdir(parents=True)
    (tmp_path / "fused").symlink_to(tmp_path / "elsewhere" / "deep" / "disk")
    (tmp_path / "elsewhere" / "photos").symlink_to(scenes)
    monkeypatch.chdir(tmp_path)
    for folder in ("brackets", "elsewhere/photos"):
        manifest = main(["fuse-brackets", folder, "--output=fused"])
        for row in rows(manifest):
            assert (manifest.parent / row["src"]).is_file()
            assert (manifest.parent / row["tar"]).is_file()
        capsys.readouterr()
        main(["fuse-brackets", folder, "--output=fused"])
        assert "0 of them fused now" in capsys.readouterr().out


REAL = ("iccv17_Seq_11", "iccv17_Seq_25", "iccv17_Seq_72", "iccv17_Seq_69")


def test_real_brackets_give_the_fusion_that_others_made_of_them(shared, tmp_path):
    """These scenes have three exposures; their targets were fused elsewhere and kept as JPEG."""
    folder = (shared / "brackets").resolve()
    (tmp_path / "real").mkdir()
    for scene in REAL:
        for exposure in "muo":
            (tmp_path / "real" / f"{scene}__{exposure}.jpg").symlink_to(folder / "input" / f"{scene}__{exposure}.jpg")
    manifest = main(["fuse-brackets", str(tmp_path / "real"), f"--output={tmp_path / 'fused'}", "--group_by=name"])
    assert [row["src"][-5] for row in rows(manifest)] == list("umo" * len(REAL))
    targets = {row["src"]: row["tar"] for row in rows(folder / "pairs.jsonl")}
    for scene in REAL:
        theirs = read_photo(folder / targets[f"input/{scene}__m.jpg"]).pixels
        ours = read_photo(tmp_path / "fused" / "target" / f"{scene}.png").pixels
        assert peak_signal_noise_ratio(theirs, ours) > 43


@pytest.mark.parametrize("scene", REAL)
def test_known_shifts_of_real_exposures_are_undone_exactly(scene, shared):
    photos = [read_photo(shared / "brackets" / "input" / f"{scene}__{exposure}.jpg").pixels for exposure in "umo"]
    shifts = [(9, -14), (0, 0), (-17, 6)]
    moved = [photo[20 - y : -20 - y, 20 - x : -20 - x] for photo, (x, y) in zip(photos, shifts, strict=True)]
    assert align(moved, reference=1)[1] == shifts


def test_training_fuses_first(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--data.pairs=ExposureBrackets", f"--data.pairs.folder={scenes}", "--data.pairs.output=fused"]
    run = main(["fit", *words, *TINY, "--data.test=1", "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"])
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert len(rows(tmp_path / "fused" / "pairs.jsonl")) == 9
    for which, names in (("under", "bbb"), ("middle", "aaa"), ("over", "ccc")):
        source = ExposureBrackets(scenes, tmp_path / "fused", exposures=which)
        assert [pair.source.stem for pair in source.pairs()] == list(names)
