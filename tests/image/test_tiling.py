import random

import pytest
import torch
from torch.nn import functional as F

from hdr_lightning.image.tiling import run_padded, run_tiled


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (16, 32), (33, 17)])
def test_sees_multiples_and_gives_the_size_back(size):
    seen = []

    def function(image):
        seen.append(tuple(image.shape[-2:]))
        return image * 2

    image = torch.rand(2, 3, *size)
    assert torch.equal(run_padded(function, image, 16), image * 2)
    assert all(side % 16 == 0 for side in seen[0])
    assert all(side < given + 16 for side, given in zip(seen[0], size, strict=True))


def test_padding_reflects():
    seen = []
    run_padded(lambda image: seen.append(image) or image, torch.arange(5.0).expand(1, 3, 6, 5), 4)
    assert seen[0][0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


def neighbours(radius):
    """A convolution of so many pixels around each whose sums are exact: integer weights, values of 8 bits."""
    side = 2 * radius + 1
    weight = torch.randint(-8, 9, (3, 3, side, side), generator=torch.Generator().manual_seed(radius)).float()
    return lambda image: F.conv2d(image, weight, padding=radius)


def eight_bits(height, width, seed=0, number=1):
    return torch.randint(0, 256, (number, 3, height, width), generator=torch.Generator().manual_seed(seed)) / 256


@pytest.mark.parametrize("seed", range(40))
def test_tiles_of_a_local_operator_are_the_whole_to_the_bit(seed):
    """At every border, of any size, any tile, and any overlap that is wide enough."""
    choose = random.Random(seed)
    stride = choose.choice([1, 2, 4, 8])
    radius = choose.randint(0, 4)
    overlap = choose.randint(4 * radius, 4 * radius + 20)
    tile = stride * (-(-overlap // stride) + choose.randint(1, 12))
    image = eight_bits(choose.randint(1, 90), choose.randint(1, 90), seed, number=choose.choice([1, 2]))
    operator = neighbours(radius)
    whole = run_padded(operator, image, stride)
    seen = []
    tiled = run_tiled(lambda part: seen.append(part.shape[-2:]) or operator(part), image, tile, overlap, stride)
    assert torch.equal(tiled.image, whole)
    assert tiled.seam == 0  # what is thrown away may differ, what is blended not
    assert all(side <= tile and side % stride == 0 for sides in seen for side in sides)


def test_a_pointwise_operator_needs_no_overlap():
    image = eight_bits(37, 50)
    assert torch.equal(run_tiled(torch.square, image, 16, overlap=0).image, image.square())


def test_an_overlap_that_is_too_narrow_shows():
    image = eight_bits(56, 56)
    assert not torch.equal(run_tiled(neighbours(4), image, 32, overlap=8).image, neighbours(4)(image))


def test_borders_are_not_darkened():
    """Weights that fade towards the border of the picture blacken its first row and column in other frameworks."""
    image = torch.full((1, 3, 41, 53), 0.7)
    assert torch.equal(run_tiled(torch.clone, image, 16, overlap=8, stride=8).image, image)


def test_tiles_that_differ_are_blended_smoothly_and_the_seam_says_by_how_much():
    levels = iter([0.25, 0.75])
    tiled = run_tiled(lambda part: torch.full_like(part, next(levels)), torch.zeros(1, 3, 8, 48), 32, overlap=16)
    row = tiled.image[0, 0, 0]
    assert tiled.seam == pytest.approx(0.5)
    assert row[:20].tolist() == [0.25] * 20
    assert row[28:].tolist() == [0.75] * 20
    steps = row.diff()[19:28]
    assert (steps > 0).all()
    assert steps[0] < 0.2 * steps[4]  # a cosine starts gently
    assert torch.allclose(row + row.flip(0), torch.ones(48))


@pytest.mark.parametrize(("tile", "overlap", "stride"), [(24, 8, 16), (16, 16, 1), (16, 9, 16)])
def test_tiles_that_cannot_be_are_refused(tile, overlap, stride):
    with pytest.raises(ValueError, match=f"multiple of {stride} pixels"):
        run_tiled(torch.clone, torch.zeros(1, 3, 40, 40), tile, overlap, stride)
