"""Pairs from shards are the pairs from their files."""

import os
import pickle

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.trainer.states import TrainerFn

pytest.importorskip("litdata")

from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.splits import split_pairs
from hdr_lightning.data.stream import HELD, ShardPairs
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


def test_a_damaged_photo_is_refused_before_anything_is_written(manifest, tmp_path, capsys):
    origin = manifest()
    (origin.parent / "7_src.png").write_bytes(b"nothing")
    with pytest.raises(SystemExit):
        main(["shard", str(origin), f"--output={tmp_path / 'shards'}"])
    assert "7_src.png" in capsys.readouterr().err
    assert not list(tmp_path.glob("*shards*"))
