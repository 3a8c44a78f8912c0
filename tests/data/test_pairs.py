import numpy as np
import torch
from torch.utils.data import DataLoader

from hdr_lightning.data.augment import CropFlip
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.pairs import Draw, EpochSampler, Pair, PairDataset


def test_source_and_target_get_the_same_crop_and_flip():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 128, (40, 50, 3), np.uint8)
    seen = set()
    for seed in range(30):
        a, b = CropFlip(crop=16, flip=0.5)(source, source + 100, np.random.default_rng(seed))
        assert a.shape == (16, 16, 3)
        np.testing.assert_array_equal(a + 100, b)
        seen.add(a.tobytes())
    assert len(seen) > 25


def test_a_crop_is_a_part_of_the_photo_and_flips_as_often_as_asked():
    columns = np.broadcast_to(np.arange(50, dtype=np.uint8)[None, :, None], (40, 50, 3))
    rising = []
    for seed in range(200):
        crop, _ = CropFlip(crop=8, flip=0.25)(columns, columns, np.random.default_rng(seed))
        steps = np.diff(crop[0, :, 0].astype(int))
        assert set(steps) in ({1}, {-1})
        rising.append(steps[0] == 1)
    assert 0.65 < np.mean(rising) < 0.85


def test_a_crop_as_large_as_the_photo_is_the_photo():
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    crop, _ = CropFlip(crop=16, flip=0.0)(photo, photo, np.random.default_rng(0))
    np.testing.assert_array_equal(crop, photo)


def test_evaluation_gives_the_whole_photo_as_it_is(demo):
    paths = read_pairs(demo)
    pair = PairDataset(paths)[Draw(0, 3)]
    assert isinstance(pair, Pair)
    assert pair.name == paths[3].name
    np.testing.assert_array_equal(
        (pair.source * 255).round().permute(1, 2, 0).numpy(), read_photo(paths[3].source).pixels
    )


def samples(demo, workers, epoch):
    dataset = PairDataset(read_pairs(demo), CropFlip(8, 0.5), seed=5)
    sampler = EpochSampler(len(dataset), seed=5, shuffle=True)
    sampler.set_epoch(epoch)
    return torch.cat([pair.source for pair in DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=workers)])


def test_samples_depend_on_the_epoch_and_not_on_the_workers(demo):
    alone, together = (samples(demo, workers, epoch=1) for workers in (0, 2))
    assert torch.equal(alone, together)
    assert not torch.equal(alone, samples(demo, 0, epoch=2))


def test_shuffling_is_a_permutation_that_changes_with_the_epoch():
    sampler = EpochSampler(20, seed=1, shuffle=True)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert [draw.epoch for draw in second] == [1] * 20
    assert sorted(draw.photo for draw in first) == sorted(draw.photo for draw in second) == list(range(20))
    assert [draw.photo for draw in first] != [draw.photo for draw in second]


def test_ranks_share_an_evaluation_without_padding():
    parts = [list(EpochSampler(7, rank=rank, ranks=2)) for rank in (0, 1)]
    assert [len(part) for part in parts] == [4, 3]
    assert sorted(draw.photo for part in parts for draw in part) == list(range(7))


def test_ranks_train_on_equally_many_different_photos():
    samplers = [EpochSampler(7, shuffle=True, rank=rank, ranks=2) for rank in (0, 1)]
    parts = [list(sampler) for sampler in samplers]
    assert [len(part) for part in parts] == [len(sampler) for sampler in samplers] == [3, 3]
    assert len({draw.photo for part in parts for draw in part}) == 6
