"""Pictures of any size through a network: whole, in exact strips, or in blended tiles."""

from contextlib import nullcontext
from math import inf, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator, check_picture, with_depth
from hdr_lightning.generators.maps import bounded
from hdr_lightning.generators.statistics import Statistics, given, recording
from hdr_lightning.generators.tiles import CACHE, GPU_CACHE, strips
from hdr_lightning.image.tiling import run_padded, run_tiled
from hdr_lightning.inference.settings import Editing, Method
from hdr_lightning.inference.ways import Way, ways


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
        InputError: if a forced method, or none at all, fits the memory, or the network cannot edit the picture.
    """
    height, width = image.shape[-2:]
    with torch.inference_mode():
        if generator.depth is not None:
            image = with_depth(generator, image.to(device)).cpu()
        check_picture(generator, image)
        for way in ways(generator, height, width, device, editing):
            try:
                return _pass(generator, image, device, editing, way)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if "memory" not in str(error):
                    raise
                said = f"{width} x {height} pixels ({way}) do not fit the memory of {device}"
            if editing.method in ("auto", "tiles"):
                print(f"{said}; trying in less", flush=True)
    raise InputError(f"{said} with {type(generator).__name__}: take --method auto, a smaller --tile, or --device cpu")


def _pass(generator: Generator, image: Tensor, device: torch.device, editing: Editing, way: Way) -> Passed:
    cache = CACHE if device.type == "cpu" else GPU_CACHE

    def run(picture: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 3 h w"]:
        return generator(picture.to(device)).cpu()

    if way.method == "whole":
        with strips(inf):
            return Passed(run_padded(run, image, generator.stride), "whole")
    if way.method == "strips":
        with strips(cache), bounded(way.memory):
            return Passed(run_padded(run, image, generator.stride), "strips")
    statistics = _shared_statistics(generator, image, device, way.tile)

    def run_tile(tile: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 3 h w"]:
        with nullcontext() if statistics is None else given(statistics):
            return run(tile)

    result, seam = run_tiled(run_tile, image, way.tile, editing.overlap, generator.stride)
    return Passed(result, "tiles", way.tile, 255 * seam)


def _shared_statistics(generator: Generator, image: Tensor, device: torch.device, tile: int) -> Statistics | None:
    """What the blocks sum up over the whole picture, reduced to the pixels of a tile."""
    height, width = image.shape[-2:]
    if not generator.blocks or max(height, width) <= tile:
        return None
    scale = min(1, sqrt(tile**2 / (height * width)))  # a long and narrow photo may have fewer pixels than a tile
    size = [max(1, int(length * scale)) // generator.stride * generator.stride for length in (height, width)]
    size = [max(each, generator.stride) for each in size]
    reduced = F.interpolate(image, size=size, mode="area") if scale < 1 else image
    with recording() as statistics:
        run_padded(generator, reduced.to(device), generator.stride)
    return statistics
