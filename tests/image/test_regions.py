import torch

from hdr_lightning.image.regions import bright_mask


def test_half_at_the_threshold_and_rising():
    grey = torch.tensor([0.0, 0.7, 0.75, 0.8, 1.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    mask = bright_mask(grey, threshold=0.75, softness=0.05)[0, 0, 0]
    assert torch.allclose(mask[2], torch.tensor(0.5), atol=1e-3)
    assert (mask.diff() > 0).all()
    assert mask[0] < 1e-6
    assert mask[-1] > 0.99
