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
