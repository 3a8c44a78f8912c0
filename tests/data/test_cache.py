"""What the cache gives is what the files hold now, bit for bit, or an error."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch.utils.data import DataLoader

from hdr_lightning.cli import main
from hdr_lightning.data import cache as cache_module
from hdr_lightning.data.augment import CropFlip
from hdr_lightning.data.cache import CachedReader, PhotoCache, PhotoReader
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.pairs import EpochSampler, PairDataset
from hdr_lightning.errors import InputError


@pytest.fixture
def photos(photo, tmp_path):
    """Five photos, among them one in JPEG, one on its side and one that needs no reducing."""
    exif = Image.Exif()
    exif[274] = 6
    return [
        photo("a.png", 60, 90, seed=1),
        photo("b.jpg", 123, 91, seed=2),
        photo("c.jpg", 90, 70, seed=3, exif=exif),
        photo("d.png", 20, 25, seed=4),
        photo("e.png", 61, 90, seed=5),
    ]


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded, in their order."""
    paths = []

    def reading(path, shorter_side=None):
        paths.append(path)
        return read_photo(path, shorter_side)

    monkeypatch.setattr(cache_module, "read_photo", reading)
    return paths


def pixel_files(folder):
    return sorted(path for path in folder.glob("*/*") if path.name not in ("photos.jsonl", ".lock"))


@pytest.mark.parametrize("mapped", [0, 4 << 20])
@pytest.mark.parametrize("shorter_side", [None, 30])
def test_a_cached_photo_is_the_photo(tmp_path, photos, shorter_side, mapped, monkeypatch):
    monkeypatch.setattr(cache_module, "MAPPED", mapped)
    cache = PhotoCache(tmp_path / "cache", 1, shorter_side)
    cache.build(photos)
    read = cache.reader(photos)
    for path in photos:
        pixels = read(path)
        assert pixels.flags.writeable == (mapped > 0)
        np.testing.assert_array_equal(pixels, read_photo(path, shorter_side).pixels)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_photos_of_other_depths_keep_their_type(tmp_path, photos, monkeypatch, dtype):
    monkeypatch.setattr(PhotoReader, "__call__", lambda self, path: read_photo(path).pixels.astype(dtype))
    cache = PhotoCache(tmp_path / "cache", 1)
    cache.build(photos)
    assert cache.reader(photos)(photos[0]).dtype == dtype
    np.testing.assert_array_equal(cache.reader(photos)(photos[0]), read_photo(photos[0]).pixels)


@pytest.mark.parametrize("workers", [0, 2])
def test_cached_samples_are_those_without_a_cache(tmp_path, demo, workers):
    pairs = read_pairs(demo)
    files = [path for pair in pairs for path in (pair.source, pair.target)]
    cache = PhotoCache(tmp_path / "cache", 1, 24)
    cache.build(files)

    def epoch(read):
        dataset = PairDataset(pairs, CropFlip(16, 0.5), seed=5, read=read)
        sampler = EpochSampler(len(dataset), seed=5, shuffle=True)
        return list(DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers))

    for cached, plain in zip(epoch(cache.reader(files)), epoch(PhotoReader(24)), strict=True):
        assert torch.equal(cached.source, plain.source)
        assert torch.equal(cached.target, plain.target)
        assert cached.name == plain.name


def test_nothing_is_decoded_twice(tmp_path, photos, decoded):
    for _ in range(2):
        PhotoCache(tmp_path / "cache", 1, 30).build([*photos, photos[0]])
    assert sorted(decoded) == sorted(photos)


def test_a_changed_photo_is_decoded_again_and_never_served_stale(tmp_path, photos, photo, decoded):
    cache = PhotoCache(tmp_path / "cache", 1, 30)
    cache.build(photos)
    read = cache.reader(photos)
    before = photos[0].stat()
    photo("a.png", 60, 90, seed=99)
    with pytest.raises(InputError, match="changed since it was cached"):
        read(photos[0])
    assert photos[0].stat().st_mtime_ns != before.st_mtime_ns
    decoded.clear()
    cache.build(photos)
    assert decoded == [photos[0]]
    np.testing.assert_array_equal(cache.reader(photos)(photos[0]), read_photo(photos[0], 30).pixels)


def test_a_photo_that_was_only_touched_or_moved_is_not_decoded_again(tmp_path, photos, decoded):
    cache = PhotoCache(tmp_path / "cache", 1, 30)
    cache.build(photos)
    decoded.clear()
    os.utime(photos[0], (1, 1))
    photos[1] = photos[1].rename(tmp_path / "moved.jpg")
    cache.build(photos)
    assert decoded == []
    np.testing.assert_array_equal(cache.reader(photos)(photos[1]), read_photo(photos[1], 30).pixels)


def test_sizes_do_not_mix(tmp_path, photos):
    for shorter_side in (30, 40, None):
        PhotoCache(tmp_path / "cache", 1, shorter_side).build(photos)
    for shorter_side in (30, 40, None):
        read = PhotoCache(tmp_path / "cache", 1, shorter_side).reader(photos)
        np.testing.assert_array_equal(read(photos[0]), read_photo(photos[0], shorter_side).pixels)


def test_another_version_of_what_decodes_decodes_again(tmp_path, photos, decoded, monkeypatch):
    PhotoCache(tmp_path / "cache", 1).build(photos)
    monkeypatch.setattr(cache_module, "version", lambda name: "99")
    PhotoCache(tmp_path / "cache", 1).build(photos)
    assert len(decoded) == 2 * len(photos)


@pytest.mark.parametrize("mapped", [0, 4 << 20])
def test_damage_is_noticed_and_repaired(tmp_path, photos, decoded, mapped, monkeypatch):
    monkeypatch.setattr(cache_module, "MAPPED", mapped)
    cache = PhotoCache(tmp_path / "cache", 1, 30)
    cache.build(photos)
    flipped, short, gone, *_ = pixel_files(tmp_path / "cache")
    data = bytearray(flipped.read_bytes())
    data[100] ^= 1
    flipped.write_bytes(data)
    short.write_bytes(short.read_bytes()[:-1])
    gone.unlink()
    read = cache.reader(photos)
    names = {entry.content: path for path, entry in read.entries.items()}
    for file in (short, gone):
        with pytest.raises(InputError, match="is damaged"):
            read(names[file.name])
    decoded.clear()
    with pytest.warns(UserWarning, match="is damaged"):
        cache.build(photos)
    assert len(decoded) == 3
    for path in photos:
        np.testing.assert_array_equal(cache.reader(photos)(path), read_photo(path, 30).pixels)


def test_an_interrupted_build_goes_on_where_it_was(tmp_path, photos, monkeypatch, decoded):
    cache = PhotoCache(tmp_path / "cache", 1, 30)
    write = cache_module.writing
    calls = []

    def failing(path):
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return write(path)

    monkeypatch.setattr(cache_module, "writing", failing)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        cache.build(photos)
    assert len(pixel_files(tmp_path / "cache")) in (3, 4)  # the last may have begun
    assert not list(tmp_path.rglob("*.part"))
    with pytest.raises(InputError, match="not in the cache"):
        cache.reader(photos)
    with cache.journal.open("a") as file:
        file.write('{"path": "/cut')  # as kill -9 leaves it
    decoded.clear()
    with pytest.warns(UserWarning, match="cannot be read"):
        cache.build(photos)
    assert len(decoded) == 2
    cache.reader(photos)


def test_the_bound_is_checked_before_anything_is_decoded(tmp_path, photos, decoded):
    bytes_needed = sum(read_photo(path, 30).pixels.nbytes for path in photos)
    with pytest.raises(InputError, match=r"set it to \S+e-05") as refusal:
        PhotoCache(tmp_path / "cache", 1e-6, 30).build(photos)
    assert f"needs {bytes_needed / 1e9:.3g} GB more" in str(refusal.value)
    assert decoded == []
    PhotoCache(tmp_path / "cache", (bytes_needed + 1) / 1e9, 30).build(photos)
    with pytest.raises(InputError, match="data.cache_gb"):
        PhotoCache(tmp_path / "cache", (bytes_needed + 1) / 1e9, 31).build(photos)


def test_photos_of_the_same_content_are_decoded_once(tmp_path, photos, decoded):
    twins = [Path(shutil.copy(photos[0], tmp_path / f"twin{number}.png")) for number in range(8)]
    needed = sum(read_photo(path, 30).pixels.nbytes for path in photos)
    cache = PhotoCache(tmp_path / "cache", (needed + 1) / 1e9, 30)
    cache.build([*photos, *twins])
    assert len(decoded) == len(photos)
    for read in (cache.reader(twins), PhotoCache(tmp_path / "cache", 1, 30).reader(twins)):
        for twin in twins:
            np.testing.assert_array_equal(read(twin), read_photo(photos[0], 30).pixels)


def test_a_photo_that_changes_while_it_is_decoded_is_refused(tmp_path, photos, monkeypatch):
    def reading(path, shorter_side=None):
        decoded = read_photo(path, shorter_side)
        os.utime(path, (1, 1))
        return decoded

    monkeypatch.setattr(cache_module, "read_photo", reading)
    with pytest.raises(InputError, match="changed while it was cached"):
        PhotoCache(tmp_path / "cache", 1, 30).build(photos[:1])
    assert not pixel_files(tmp_path / "cache")


def test_runs_that_share_a_folder_keep_each_others_photos(tmp_path, photos, decoded, monkeypatch):
    first, second = (PhotoCache(tmp_path / "cache", 1, 30) for _ in range(2))
    known = first._known

    def after_the_start():
        result = known()
        monkeypatch.setattr(first, "_known", known)
        second.build(photos[2:])  # begins and ends while the first run is at work
        return result

    monkeypatch.setattr(first, "_known", after_the_start)
    first.build(photos[:2])
    assert second.reader(photos[2:])(photos[2]).shape
    PhotoCache(tmp_path / "cache", 1, 30).reader(photos)  # as another process reads the journal
    first.journal.unlink()
    assert first.reader(photos[:2])(photos[0]).shape, "a run remembers its own photos"


def test_a_full_cache_is_used_where_it_cannot_be_written_to(tmp_path, photos, monkeypatch):
    PhotoCache(tmp_path / "cache", 1, 30).build(photos[:4])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    os.utime(photos[0], (1, 1))
    cache = PhotoCache(tmp_path / "cache", 1, 30)
    cache.build(photos[:4])
    np.testing.assert_array_equal(cache.reader(photos[:4])(photos[0]), read_photo(photos[0], 30).pixels)
    with pytest.raises(InputError, match=r"cannot be written to, and 1 photos are not in it \(.*e\.png"):
        cache.build(photos)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before


@pytest.mark.parametrize(
    "line", [b'"x"', b"[1]", b"\xff\xfe", b'{"path": "a", "content": 3}', b'{"path": 3, "content": "a"}']
)
def test_a_damaged_line_of_the_journal_is_read_over(tmp_path, photos, decoded, line):
    cache = PhotoCache(tmp_path / "cache", 1, 30)
    cache.build(photos)
    lines = cache.journal.read_bytes().splitlines()
    lines[0] = line
    cache.journal.write_bytes(b"\n".join(lines))
    decoded.clear()
    with pytest.warns(UserWarning, match="a line cannot be read"):
        cache.build(photos)
    assert len(decoded) == 1


def test_a_disk_that_is_too_small_is_told_before(tmp_path, photos, decoded, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6 - 100, 100))
    with pytest.raises(InputError, match=r"has 1e-07 GB free"):
        PhotoCache(tmp_path / "cache", 1, 30).build(photos)
    assert decoded == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path, photos):
    with pytest.raises(InputError, match="cannot be made"):
        PhotoCache(photos[0], 1).build(photos)


def data_module(demo, stage, **options):
    data = PairDataModule(demo, crop=16, workers=0, resize=24, **options)
    data.trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
    data.trainer.state.fn = stage
    data.prepare_data()
    return data


def same(first, second):
    return all(
        torch.equal(a.source, b.source) and torch.equal(a.target, b.target) and a.name == b.name
        for a, b in zip(first, second, strict=True)
    )


def test_training_is_the_same_with_a_cache_and_keeps_no_test_photo(tmp_path, demo):
    plain = data_module(demo, TrainerFn.FITTING)
    cached = data_module(demo, TrainerFn.FITTING, cache=tmp_path / "cache")
    assert isinstance(cached.train_dataloader().dataset.read, CachedReader)
    assert same(plain.train_dataloader(), cached.train_dataloader())
    assert same(plain.val_dataloader(), cached.val_dataloader())
    kept = {json.loads(line)["path"] for line in next(tmp_path.glob("cache/*/photos.jsonl")).read_text().splitlines()}
    pairs = read_pairs(demo)
    assert kept == {str(path.absolute()) for pair in pairs[5:] for path in (pair.source, pair.target)}
    tested = data_module(demo, TrainerFn.TESTING, cache=tmp_path / "cache")
    assert [min(pair.source.shape[-2:]) for pair in tested.test_dataloader()] == [24] * 5
    assert len(pixel_files(tmp_path / "cache")) == 2 * (len(pairs) - 5)


def test_a_step_trains_from_the_command_line(tmp_path, demo):
    words = [f"--data.pairs={demo}", "--data.resize=24", f"--data.cache={tmp_path / 'cache'}", "--data.cache_gb=0.1"]
    main(["fit", *TINY, *words, "--trainer.fast_dev_run=true", f"--trainer.default_root_dir={tmp_path / 'run'}"])
    assert len(pixel_files(tmp_path / "cache")) == 14


def test_a_reduction_below_the_crop_is_refused(capsys, demo):
    with pytest.raises(SystemExit):
        main(["fit", *TINY, f"--data.pairs={demo}", "--data.resize=15"])
    assert "data.resize is to be 16 or more, got 15" in capsys.readouterr().err
