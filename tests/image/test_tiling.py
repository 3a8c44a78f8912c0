import pytest
import torch

from hdr_lightning.image.tiling import run_padded


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
