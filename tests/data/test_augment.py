"""Random changes of training pairs: against scikit-image, colour-science by hand, and properties."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hdr_lightning.data.augment import CropFlip, Jitter, Mix
from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.pairs import Draw, EpochSampler, PairDataset
from hdr_lightning.errors import InputError


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(dtype=np.uint8, size=(20, 30), seed=0):
    if dtype is np.float32:
        return rng(seed).random((*size, 3), np.float32)
    return rng(seed).integers(0, np.iinfo(dtype).max + 1, (*size, 3), dtype)


def srgb_decode(encoded):
    """IEC 61966-2-1, in float64."""
    encoded = np.asarray(encoded, float)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


class TestGeometry:
    @pytest.mark.parametrize("probability", [0.0, 0.75])
    def test_turns_and_flips_come_as_often_as_asked(self, probability):
        photo = noise(size=(4, 4))
        directions = {np.rot90(photo, turns).tobytes(): turns for turns in range(4)}
        seen = [
            directions[CropFlip(4, 0, turns=probability)(photo, photo, rng(seed))[0].tobytes()] for seed in range(400)
        ]
        shares = np.bincount(seen, minlength=4) / 400
        expected = [1 - probability, *[probability / 3] * 3]
        np.testing.assert_allclose(shares, expected, atol=0.07)

    def test_a_vertical_flip_turns_the_rows_around(self):
        photo = noise(size=(4, 4))
        np.testing.assert_array_equal(CropFlip(4, 0, flip_vertical=1)(photo, photo, rng())[0], np.flipud(photo))

    def test_source_and_target_of_different_depths_are_cut_and_turned_alike(self):
        target = noise(np.uint16)
        for seed in range(20):
            source, other = CropFlip(8, 0.5, 0.5, 0.75)((target >> 8).astype(np.uint8), target, rng(seed))
            assert (source.dtype, other.dtype) == (np.uint8, np.uint16)
            np.testing.assert_array_equal(source, other >> 8)

    def test_all_eight_orientations_are_reached(self):
        photo = noise(size=(4, 4))
        change = CropFlip(4, 0.5, 0.5, 0.75)
        assert len({change(photo, photo, rng(seed))[0].tobytes() for seed in range(200)}) == 8

    def test_switching_turns_on_leaves_the_crop_where_it_was(self):
        photo = noise()
        for seed in range(20):
            plain, turned = (CropFlip(8, 0.5, turns=p).draw(20, 30, rng(seed)) for p in (0, 1))
            assert plain[:4] == turned[:4]
            assert not plain.turns
            assert turned.turns
            np.testing.assert_array_equal(plain.cut(photo), np.rot90(turned.cut(photo), -turned.turns))


class TestJitter:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_it_multiplies_linear_light(self, dtype):
        """Where nothing clips, the quotient of the light is one number for each channel."""
        source = (noise(dtype) * 0.4).astype(dtype)
        source += np.asarray(0.1 * (1 if dtype is np.float32 else np.iinfo(dtype).max)).astype(dtype)
        changed = Jitter(exposure=0.5, white_balance=0.3)(source, rng(3))
        assert changed.dtype == np.float32
        highest = 1 if dtype is np.float32 else np.iinfo(dtype).max
        quotient = srgb_decode(changed) / srgb_decode(source / highest)
        red, green, blue = np.log2(np.median(quotient, axis=(0, 1)))
        np.testing.assert_allclose(quotient / np.median(quotient, axis=(0, 1)), 1, rtol=1e-4)
        assert abs(green) <= 0.5
        assert 0 < abs(red - green) <= 0.3
        assert 0 < abs(blue - green) <= 0.3

    def test_stops_are_spread_evenly_over_the_range(self):
        grey, draws = np.full((1, 1, 3), 0.2, np.float32), rng()
        stops = np.array(
            [np.log2(srgb_decode(Jitter(exposure=1)(grey, draws)) / srgb_decode(grey)) for _ in range(1000)]
        ).reshape(1000, 3)
        np.testing.assert_allclose(stops[:, 0], stops[:, 1], atol=1e-5)
        quartiles = np.quantile(stops[:, 0], [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(quartiles, [-1, -0.5, 0, 0.5, 1], atol=0.12)

    def test_sixteen_bits_stay_sixteen_bits(self):
        ramp = np.broadcast_to(np.arange(20000, 24000, dtype=np.uint16)[:, None, None], (4000, 1, 3))
        changed = Jitter(exposure=0.1)(ramp, rng())
        assert len(np.unique(changed)) == 4000
        assert (np.diff(changed[:, 0, 0]) > 0).all()

    def test_light_clips_at_white_and_black_stays_black(self):
        source = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
        for seed in range(20):
            changed = Jitter(exposure=3, white_balance=1)(source, rng(seed))
            assert changed.max() <= 1
            assert not changed[0, 0].any()

    def test_off_it_gives_back_what_it_got(self):
        source = noise()
        assert Jitter()(source, rng()) is source


class TestMix:
    def test_they_come_as_often_as_asked(self):
        weights = [Mix(mixup=0.3, cutmix=0.5).draw(8, rng(seed)) for seed in range(1000)]
        alone = sum(weight is None for weight in weights)
        blended = sum(weight is not None and not set(weight.unique().tolist()) <= {0.0, 1.0} for weight in weights)
        assert 160 < alone < 240
        assert 260 < blended < 340

    def test_shares_of_mixup_follow_their_beta_distribution(self):
        shares = [float(Mix(mixup=1).draw(1, rng(seed))[0, 0]) for seed in range(1000)]
        assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
        assert np.var(shares) == pytest.approx(1 / (4 * (2 * 1.2 + 1)), rel=0.1)  # of Beta(1.2, 1.2)

    def test_cutmix_replaces_one_rectangle(self):
        areas = []
        for seed in range(300):
            weight = Mix(cutmix=1).draw(32, rng(seed))
            rows, columns = (weight.amin(dim=1 - axis) == 0 for axis in (0, 1))
            assert torch.equal(weight == 0, rows[:, None] & columns[None, :])
            assert (rows.int().diff().abs().sum() <= 2) and (columns.int().diff().abs().sum() <= 2)
            areas.append(float((weight == 0).float().mean()))
        assert 0.2 < np.mean(areas) < 0.45  # half of the area, less what falls outside
        assert max(areas) > 0.7


EVERYTHING = {"jitter": Jitter(0.7, 0.2), "mix": Mix(0.4, 0.4)}


class TestSamples:
    def dataset(self, demo, everything=True):
        augment = CropFlip(8, 0.5, 0.5, 0.75) if everything else CropFlip(8, 0.5)
        return PairDataset(read_pairs(demo), augment, 5, **(EVERYTHING if everything else {}))

    def seen(self, demo, workers, epochs=(0, 1), rank=0, ranks=1, batch_size=4):
        dataset = self.dataset(demo)
        sampler = EpochSampler(len(dataset), 5, True, rank, ranks)
        loader = DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
        samples = []
        for epoch in epochs:
            sampler.set_epoch(epoch)
            samples += [
                (epoch, name, source.numpy().tobytes(), target.numpy().tobytes())
                for batch in loader
                for source, target, name in zip(batch.source, batch.target, batch.name, strict=True)
            ]
        return samples

    @pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
    def test_two_epochs_are_the_same_with_any_number_of_workers(self, demo):
        alone = self.seen(demo, 0)
        assert len(set(alone)) == len(alone) == 24
        assert alone == self.seen(demo, 2) == self.seen(demo, 4)

    def test_two_ranks_see_what_one_sees(self, demo):
        parts = [self.seen(demo, 0, rank=rank, ranks=2, batch_size=3) for rank in (0, 1)]
        assert len(parts[0]) == len(parts[1])
        assert {*parts[0], *parts[1]} == set(self.seen(demo, 0))

    def test_switched_off_samples_are_the_crops_and_flips_of_before(self, demo):
        """Written out as the code was before there was anything else: bit for bit."""
        dataset = self.dataset(demo, everything=False)
        paths = read_pairs(demo)
        for photo in range(len(dataset)):
            for epoch in (0, 7):
                draws = rng([5, epoch, photo])
                source, target = (read_photo(path).pixels for path in (paths[photo].source, paths[photo].target))
                top, left = (int(draws.integers(length - 8 + 1)) for length in source.shape[:2])
                step = -1 if draws.random() < 0.5 else 1
                pair = dataset[Draw(epoch, photo)]
                for seen, pixels in ((pair.source, source), (pair.target, target)):
                    crop = pixels[top : top + 8, left : left + 8][:, ::step]
                    expected = torch.from_numpy(crop.transpose(2, 0, 1).copy()).float().div_(255)
                    assert torch.equal(seen, expected)

    def test_jitter_leaves_the_target_alone(self, demo):
        paths = read_pairs(demo)
        plain = PairDataset(paths, CropFlip(8, 0.5), 5)[Draw(0, 3)]
        lit = PairDataset(paths, CropFlip(8, 0.5), 5, jitter=Jitter(1, 0.5))[Draw(0, 3)]
        assert torch.equal(plain.target, lit.target)
        assert not torch.equal(plain.source, lit.source)

    @pytest.mark.parametrize("mix", [Mix(mixup=1), Mix(cutmix=1)])
    def test_source_and_target_are_mixed_with_one_weight(self, demo, mix):
        """With each photo as its own target, the mixed pair is equal, too."""
        paths = [pair.__class__(pair.name, pair.source, pair.source, pair.group) for pair in read_pairs(demo)]
        mixed = PairDataset(paths, CropFlip(16, 0.5), 5, mix=mix)
        plain = PairDataset(paths, CropFlip(16, 0.5), 5)
        for photo in range(6):
            pair, alone = mixed[Draw(0, photo)], plain[Draw(0, photo)]
            assert torch.equal(pair.source, pair.target)
            assert not torch.equal(pair.source, alone.source)
            if mix.cutmix:
                assert (pair.source == alone.source).float().mean() > 0.05

    def test_tensors_have_the_range_of_every_depth(self):
        for dtype in (np.uint8, np.uint16, np.float32):
            highest = 1 if dtype is np.float32 else np.iinfo(dtype).max
            pixels = noise(dtype)
            assert to_tensor(pixels).numpy().transpose(1, 2, 0) == pytest.approx(pixels / np.float64(highest), abs=1e-7)


def test_ten_million_pairs_cost_arrays_not_lists():
    import time

    sampler = EpochSampler(10_000_000, shuffle=True, rank=1, ranks=8)
    start = time.perf_counter()
    assert len(sampler) == 1_250_000
    assert time.perf_counter() - start < 0.01
    assert isinstance(sampler._indices(), np.ndarray)
    draw = next(iter(sampler))
    assert isinstance(draw.photo, int)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": 1.5}, r"data.turns is to lie between 0 and 1, got 1.5"),
        ({"exposure": -1.0}, r"data.exposure is to lie between 0 and 8"),
        ({"mixup": 0.5, "cutmix": 0.6}, r"data.cutmix is to lie between 0 and 0.5, got 0.6"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        PairDataModule(**options)
