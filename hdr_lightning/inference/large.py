"""Pictures of any size through a network: whole, in exact strips, or in blended tiles."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.generators.base import Generator, edit
from hdr_lightning.inference.settings import Editing, Method


class Passed(NamedTuple):
    """A picture that passed a network.

    Attributes:
        image: the result, on the CPU, not clamped.
        method: how it passed.
        tile: side of the tiles in pixels; 0 where there were none.
        seam: by how much neighbouring tiles differ where they overlap, in 8-bit levels; 0 where there were none.
    """

    image: Float[Tensor, "1 3 h w"]
    method: Method
    tile: int = 0
    seam: float = 0.0


def edit_large(generator: Generator, image: Float[Tensor, "1 3 h w"], device: torch.device, editing: Editing) -> Passed:
    """Edit a picture of any size, by the way that fits the memory.

    Args:
        generator: a network, on the device.
        image: RGB, sRGB-encoded, [0, 1], on the CPU.
        device: where to compute.
        editing: the method, memory, tile and overlap are taken from it.

    Raises:
        InputError: if a forced method does not fit.
    """
    with torch.inference_mode():
        return Passed(edit(generator, image.to(device)).cpu(), "whole")
