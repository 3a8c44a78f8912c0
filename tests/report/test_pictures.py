import json
import math

import numpy as np
import pytest
import torch
from conftest import smooth
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from skimage.exposure import histogram as skimage_histogram

from hdr_lightning.errors import InputError
from hdr_lightning.report.gallery import Gallery
from hdr_lightning.report.pictures import BINS, LEVELS, difference_map, histogram, worst_window


def test_a_histogram_is_that_of_scikit_image():
    grey = smooth(3)[0, :1].expand(3, -1, -1)
    counts, _ = skimage_histogram(grey[0].numpy(), nbins=BINS, source_range="dtype", normalize=False)
    inside = counts[BINS // 2 :]  # its range for floats is [-1, 1]
    mine = np.array(histogram(grey)).reshape(-1, 2).sum(axis=1) * grey[0].numel() / 100
    assert np.abs(mine - inside).max() <= 2  # values on the border of two bins


def test_a_histogram_of_what_is_not_finite_counts_the_rest():
    picture = torch.full((3, 4, 4), 0.999)
    picture[0, 0] = torch.nan
    assert histogram(picture)[-1] == pytest.approx(100)
    assert sum(histogram(torch.full((3, 2, 2), torch.nan))) == 0


def test_a_difference_is_blue_where_darker_white_where_equal_red_where_brighter():
    target = torch.full((3, 30, 90), 0.5)
    output = target.clone()
    output[..., :30] -= LEVELS
    output[..., 60:] += 2 * LEVELS
    output[1, 10, 45] = torch.nan
    shown = np.asarray(difference_map(output, target, 30)).astype(int)
    assert tuple(shown[15, 5]) == (33, 102, 172)
    assert tuple(shown[25, 40]) == (247, 247, 247)
    assert tuple(shown[15, 85]) == (178, 24, 43)
    assert tuple(shown[10, 45]) == (255, 0, 255)


@pytest.mark.parametrize("place", [(0, 0), (37, 61), (59, 99)])
def test_the_worst_window_holds_the_error_at_every_border(place):
    target = smooth(1, (60, 100))[0]
    output = target.clone()
    output[:, place[0], place[1]] = 1 - output[:, place[0], place[1]].round()
    window = worst_window(output, target, 24)
    assert window.top <= place[0] < window.top + 24
    assert window.left <= place[1] < window.left + 24
    part = (slice(None), slice(window.top, window.top + 24), slice(window.left, window.left + 24))
    assert window.error == pytest.approx(float((output - target)[part].abs().mean()), rel=1e-5)


def test_the_worst_window_is_the_worst_of_all():
    target, output = (torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    error = (output - target).abs().mean(dim=0).numpy()
    means = sliding_window_view(error, (12, 12)).mean(axis=(2, 3))
    window = worst_window(output, target, 12)
    assert (window.top, window.left) == np.unravel_index(means.argmax(), means.shape)
    assert window.error == pytest.approx(means.max(), rel=1e-6)


def test_what_is_not_finite_is_the_worst_and_small_pictures_are_one_window():
    target = torch.rand(3, 10, 16, generator=torch.Generator().manual_seed(0))
    output = target.clone()
    output[:, :, 12:] = torch.inf
    window = worst_window(output, target, 224)
    assert window.side == 10
    assert window.left == 6
    assert math.isfinite(window.error)


class TestGallery:
    def test_it_keeps_crops_pixel_by_pixel_and_pictures_within_the_height(self, evaluated, tmp_path):
        _, gallery = evaluated(tmp_path)
        shot = gallery.shots[1]
        with Image.open(tmp_path / shot.source) as picture:
            assert picture.height == 80
            assert picture.width == pytest.approx(80 * shot.width / shot.height, abs=1)
        for crop in shot.crops.values():
            with Image.open(tmp_path / crop.output) as picture:
                assert picture.size == (crop.window.side, crop.window.side)

    def test_a_broken_pixel_is_magenta_in_its_picture(self, evaluated, tmp_path):
        _, gallery = evaluated(tmp_path)
        with Image.open(tmp_path / gallery.shots[3].outputs["bright"]) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert (np.abs(pixels - [255, 0, 255]).sum(axis=2) < 120).any()

    def test_what_is_saved_is_read_back(self, evaluated, tmp_path):
        _, gallery = evaluated(tmp_path)
        gallery.save()
        assert Gallery.read(tmp_path).shots == gallery.shots

    def test_another_file_is_refused(self, tmp_path):
        (tmp_path / "pictures.json").write_text(json.dumps({"shots": []}))
        with pytest.raises(InputError, match=r"pictures\.json: expected what"):
            Gallery.read(tmp_path)

    def test_no_target_needs_neither_difference_nor_crop(self, tmp_path):
        gallery = Gallery(tmp_path)
        gallery.add("a", torch.zeros(3, 8, 8), None, {"net": torch.ones(3, 8, 8)})
        (shot,) = gallery.shots
        assert shot.target == ""
        assert not shot.differences
        assert not shot.crops

    def test_memory_does_not_grow_with_the_size_of_photos(self, tmp_path):
        gallery = Gallery(tmp_path, height=40)
        for name, side in (("small", 64), ("large", 512)):
            gallery.add(
                name, torch.zeros(3, side, side), torch.ones(3, side, side), {"net": torch.zeros(3, side, side)}
            )
        small, large = (len(str(shot)) for shot in gallery.shots)
        assert large < small + 50
