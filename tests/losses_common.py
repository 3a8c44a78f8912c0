"""Every loss term that the package exports."""

import functools

import torch

from hdr_lightning import losses
from hdr_lightning.losses import LossTerm

TERMS = [name for name in losses.__all__ if isinstance(getattr(losses, name), type)]
TERMS = [name for name in TERMS if issubclass(getattr(losses, name), LossTerm) and name != "LossTerm"]


@functools.cache
def make(name):
    """A term as it comes."""
    torch.manual_seed(0)
    return getattr(losses, name)()


def real_squeezenet(shared, folder):
    """ImageNet's features, with its mean and deviation taken out of the first convolution again."""
    weights = torch.load(shared / "lpips" / "squeezenet1_1_features_torch.pth", weights_only=True)
    weights = {name if name.startswith("features.") else f"features.{name}": value for name, value in weights.items()}
    first = weights["features.0.weight"]
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    weights["features.0.weight"] = first * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    weights["features.0.bias"] = weights["features.0.bias"] + (first * mean).sum(dim=(1, 2, 3))
    path = folder / "squeezenet.pth"
    torch.save(weights, path)
    return path
