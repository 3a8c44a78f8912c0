"""Which ways there are for a picture through a network, in the memory that is there."""

from collections.abc import Iterator
from math import isqrt
from typing import NamedTuple

import torch

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.inference.free import free_memory
from hdr_lightning.inference.need import Kind, need
from hdr_lightning.inference.settings import Editing, Method

LEAST = 128
"""Side of the smallest tiles that are taken unasked, in pixels, beside the overlap."""

MOST = 1024
"""Side of the largest that are taken unasked on a CPU, where larger ones are no faster, or of an unknown network."""

SMALL = 512**2
"""Pixels of pictures that are thought to fit as they are where nobody says how much memory there is."""


class Way(NamedTuple):
    """A way for a picture through a network.

    Attributes:
        method: not `auto`.
        tile: side of the tiles in pixels.
        memory: gigabytes to work in, where feature maps that do not fit go to files.
    """

    method: Method
    tile: int = 0
    memory: float | None = None

    def __str__(self) -> str:
        return f"tiles of {self.tile}" if self.tile else self.method


def ways(generator: Generator, height: int, width: int, device: torch.device, editing: Editing) -> Iterator[Way]:
    """The ways that fit the memory, the best one first; what comes behind it is for when there is less than thought.

    Args:
        generator: the network, on the device.
        height: of the picture, in pixels.
        width: of it.
        device: where to compute.
        editing: the method, memory, tile and overlap are taken from it.

    Raises:
        InputError: if a forced method, or none at all, fits.
    """
    room = _Room(generator, height, width, device, editing)
    if editing.method == "whole":
        yield room.whole()
    elif editing.method == "strips":
        yield room.strips()
    elif editing.method == "tiles":
        yield from room.tiles()
    elif not room.counted:
        yield Way("whole") if height * width <= MOST**2 else Way("tiles", room.side(MOST))
    else:
        yield from room.all()


class _Room:
    """The memory for a picture, and what fits it."""

    def __init__(self, generator: Generator, height: int, width: int, device: torch.device, editing: Editing) -> None:
        self.generator, self.device, self.editing = generator, device, editing
        self.height, self.width = height, width
        stride = generator.stride
        self.pixels = (height + -height % stride) * (width + -width % stride)
        self.free = free_memory(device) if editing.memory is None else editing.memory * 1e9
        self.counted = generator.countable and next(generator.parameters(), None) is not None

    def needs(self, kind: Kind) -> float:
        """Bytes for the picture."""
        return need(self.generator, kind, self.device).of(self.pixels)

    def fits(self, kind: Kind) -> bool:
        small = self.editing.memory is None and self.pixels <= SMALL
        return small or self.needs(kind) <= self.free

    def refuse(self, what: str, kind: Kind, hint: str) -> InputError:
        return InputError(
            f"{what} of {self.width} x {self.height} pixels needs {self.needs(kind) / 1e9:.1f} GB with "
            f"{type(self.generator).__name__} on {self.device}, {self.free / 1e9:.1f} GB are free: {hint}"
        )

    def all(self) -> Iterator[Way]:
        """On a CPU strips come first: they are the same, in less memory and time."""
        cpu, in_strips = self.device.type == "cpu", bool(self.generator.blocks)
        if not (cpu and in_strips) and self.fits("whole"):
            yield Way("whole")
        if in_strips and (self.fits("whole") or self.fits("strips")):
            yield Way("strips")
        elif cpu and self.generator.runs_in_strips:
            yield Way("strips", memory=self.free / 1e9)
        yield from self.tiles()

    def whole(self) -> Way:
        if self.counted and not self.fits("whole"):
            raise self.refuse("the whole", "whole", "take --method auto, or make the photo smaller")
        return Way("whole")

    def strips(self) -> Way:
        name = type(self.generator).__name__
        if not self.generator.blocks:
            raise InputError(f"{name} is not made of blocks that run in strips: take --method whole or tiles")
        if self.fits("whole") or self.fits("strips"):  # the first is counted faster
            return Way("strips")
        if self.device.type == "cpu" and self.generator.runs_in_strips:
            return Way("strips", memory=self.free / 1e9)
        raise self.refuse("a picture in strips", "strips", "take --method tiles")

    def tiles(self) -> Iterator[Way]:
        """The largest tiles that fit, then smaller ones."""
        least = self.side(LEAST + self.editing.overlap)
        if self.editing.tile is not None:
            yield Way("tiles", self.side(self.editing.tile))
            return
        side = self.side(MOST)
        if self.counted:
            kind: Kind = "strips" if self.device.type == "cpu" and self.generator.blocks else "whole"
            largest = isqrt(int(need(self.generator, kind, self.device).pixels(self.free)))
            side = min(largest, MOST) if self.device.type == "cpu" else largest
            side = side // self.generator.stride * self.generator.stride
            if side < least and side**2 < self.pixels:
                raise self.refuse("all", "whole", f"not even tiles of {least} pixels fit; give it more memory")
        while side >= least:
            yield Way("tiles", side)
            side = side // 2 // self.generator.stride * self.generator.stride

    def side(self, pixels: int) -> int:
        """The next multiple of the stride.

        Raises:
            InputError: if tiles are not larger than their overlap.
        """
        stride, overlap = self.generator.stride, self.editing.overlap
        side = pixels + -pixels % stride
        if side <= overlap + -overlap % stride:
            raise InputError(f"expected tiles that are larger than their overlap of {overlap} pixels, got {pixels}")
        return side
