"""Pairs from shards are the pairs from their files."""

import json
import os
import pickle
import shutil

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

pytest.importorskip("litdata")

from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.splits import split_pairs
from hdr_lightning.data.stream import HELD, SMALLEST, ShardPairs
from hdr_lightning.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def shards(demo, tmp_path):
    return main(["shard", str(demo), f"--output={tmp_path / 'shards'}"])


def test_shards_hold_the_files_as_they_are_and_no_test_photo(demo, shards):
    parts = split_pairs(read_pairs(demo), 5, 0.1, 0)
    for part, expected in (("train", parts.train), ("validation", parts.validation)):
        pairs = ShardPairs(str(shards / part))
        by_name = {pair.name: pair for pair in expected}
        assert len(pairs) == len(by_name)
        for index in range(len(pairs)):
            pair = pairs[index]
            original = by_name.pop(pair.name)
            assert pair.source.read_bytes() == original.source.read_bytes()
            assert pair.target.read_bytes() == original.target.read_bytes()
            assert (pair.group, pair.source.suffix) == (original.group, original.source.suffix)
    written = b"".join(path.read_bytes() for path in shards.rglob("*.bin"))
    assert parts.train[0].source.read_bytes() in written
    assert not any(path.read_bytes() in written for pair in parts.test for path in (pair.source, pair.target))


def module(stage=TrainerFn.FITTING, **options):
    data = PairDataModule(crop=16, batch_size=2, resize=24, **options)
    data.trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    data.trainer.state.fn = stage
    data.prepare_data()
    return data


def samples(data, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    return {name: batch.source[row] for batch in batches for row, name in enumerate(batch.name)}


def test_samples_depend_on_the_epoch_and_not_on_the_workers(shards):
    alone, together = (samples(module(stream=str(shards), workers=workers), 1) for workers in (0, 2))
    other = samples(module(stream=str(shards), workers=0), 2)
    assert alone.keys() == together.keys() == other.keys()
    assert all(torch.equal(alone[name], together[name]) for name in alone)
    assert not all(torch.equal(alone[name], other[name]) for name in alone)


def test_a_whole_photo_is_the_one_of_its_file(demo, shards):
    streamed = module(stream=str(shards), workers=0).val_dataloader()
    plain = module(pairs=demo, workers=0).val_dataloader()
    for a, b in zip(streamed, plain, strict=True):
        assert a.name == b.name
        assert torch.equal(a.source, b.source)
        assert torch.equal(a.target, b.target)


def test_few_temporary_files_are_there_and_none_stay(shards):
    pairs = ShardPairs(str(shards / "train"))
    copy = pickle.loads(pickle.dumps(pairs))
    for index in range(len(pairs)):
        assert copy[index].source.is_file()
        assert pairs[index].target.is_file()
    folder = pairs.folder
    assert len(list((folder / str(os.getpid())).iterdir())) <= 2 * HELD
    del copy
    assert folder.is_dir()
    del pairs
    assert not folder.exists()


def test_a_step_trains_from_shards(shards, tmp_path):
    words = [f"--data.stream={shards}", "--trainer.fast_dev_run=true", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    main(["fit", *TINY, *words])


def test_an_existing_folder_is_left_alone(demo, shards, capsys):
    before = sorted(shards.rglob("*"))
    with pytest.raises(SystemExit):
        main(["shard", str(demo), f"--output={shards}"])
    assert "exists: choose another --output" in capsys.readouterr().err
    assert sorted(shards.rglob("*")) == before


def test_what_is_no_shards_is_told(tmp_path):
    with pytest.raises(InputError, match="there are no shards"):
        ShardPairs(str(tmp_path))
    with pytest.raises(InputError, match="exclude each other"):
        PairDataModule(stream=str(tmp_path), cache=tmp_path)


@pytest.mark.parametrize("verb", ["fit", "validate", "check-loss"])
@pytest.mark.parametrize("option", ["quarantine=list.jsonl", "split=split.json", "folds=3", "fold=1"])
def test_what_chooses_pairs_is_refused_with_shards(shards, checkpoint, tmp_path, capsys, option, verb):
    words = [f"--data.stream={shards}", f"--data.{option}", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    with pytest.raises(SystemExit):
        main([verb, *TINY, *words, *([f"--ckpt_path={checkpoint}"] if verb == "validate" else [])])
    assert f"data.stream and data.{option.split('=')[0]} exclude each other" in capsys.readouterr().err


def test_shards_are_split_by_folds_and_without_what_is_in_quarantine(demo, tmp_path):
    pairs = read_pairs(demo)
    quarantine = tmp_path / "list.jsonl"
    quarantine.write_text(json.dumps({"src": str(pairs[7].source.absolute())}) + "\n")
    words = ["--folds=3", "--fold=1", f"--quarantine={quarantine}"]
    shards = main(["shard", str(demo), *words, f"--output={tmp_path / 'shards'}"])
    expected = PairDataModule(demo, folds=3, fold=1, quarantine=quarantine).split
    for part, there in (("train", expected.train), ("validation", expected.validation)):
        written = ShardPairs(str(shards / part))
        names = {written[index].name for index in range(len(written))}
        assert names == {pair.name for pair in there}
        assert pairs[7].name not in names


def test_equal_pixels_in_both_parts_are_refused(demo, tmp_path, capsys):
    shutil.copytree(demo.parent, tmp_path / "rooms")
    origin = tmp_path / "rooms" / demo.name
    parts = split_pairs(read_pairs(origin), 5, 0.1, 0)
    with Image.open(parts.validation[0].source) as photo:
        photo.save(parts.train[0].source, compress_level=1)  # other bytes
    with pytest.raises(SystemExit):
        main(["shard", str(origin), f"--output={tmp_path / 'shards'}"])
    error = capsys.readouterr().err
    assert parts.train[0].source.name in error
    assert parts.validation[0].source.name in error
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("verb", ["fit", "check-loss"])
def test_a_later_crop_that_is_too_large_is_refused_before_the_first_epoch(shards, tmp_path, capsys, verb):
    words = [f"--data.stream={shards}", "--data.stages=[{epoch: 1, crop: 33, batch_size: 1}]"]
    words += [f"--trainer.default_root_dir={tmp_path / 'run'}"]
    with pytest.raises(SystemExit):
        main([verb, *TINY, *words])
    out, error = capsys.readouterr()
    assert "has a side of 32 pixels, smaller than the crop of 33" in error
    assert json.loads((shards / "train" / SMALLEST).read_text())["name"] in error
    assert "epoch 1/" not in out + error


def test_shards_without_sizes_name_the_photo_that_is_too_small(shards):
    (shards / "train" / SMALLEST).unlink()
    data = PairDataModule(stream=str(shards), crop=33, workers=0)
    with pytest.raises(InputError, match=r"\.png: a photo of 48 x 32 pixels is smaller"):
        next(data.training_pairs(1))


def test_a_damaged_record_of_sizes_is_told(shards):
    (shards / "train" / SMALLEST).write_text("[3]")
    with pytest.raises(InputError, match="is damaged"):
        next(PairDataModule(stream=str(shards), crop=16, workers=0).training_pairs(1))


@pytest.mark.parametrize("url", ["s3://nix/shards", "nix://nix/shards"])
def test_storage_that_cannot_be_opened_is_told(url, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match=rf"{url}/train cannot be opened \(.+\): check the address.* credentials"):
        next(PairDataModule(stream=url, crop=16, workers=0).training_pairs(1))


@pytest.mark.parametrize("size", [0, -5])
def test_a_shard_of_no_size_is_refused(demo, tmp_path, capsys, size):
    with pytest.raises(SystemExit):
        main(["shard", str(demo), f"--output={tmp_path / 'shards'}", f"--shard_mb={size}"])
    assert f"shard_mb is to be 1 or more, got {size}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_damaged_photo_is_refused_before_anything_is_written(manifest, tmp_path, capsys):
    origin = manifest()
    (origin.parent / "7_src.png").write_bytes(b"nothing")
    with pytest.raises(SystemExit):
        main(["shard", str(origin), f"--output={tmp_path / 'shards'}"])
    assert "7_src.png" in capsys.readouterr().err
    assert not list(tmp_path.glob("*shards*"))
