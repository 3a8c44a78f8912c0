"""How photos are enhanced, beside the network that does it."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from hdr_lightning.errors import InputError

Method = Literal["auto", "whole", "strips", "tiles"]
"""How a picture passes a network: as a whole; in strips, with the same result in less memory; in overlapping tiles."""


@dataclass(frozen=True)
class Editing:
    """How photos are enhanced.

    Attributes:
        method: how a picture passes the network; `auto` takes the first of `whole`, `strips` and `tiles` that fits.
        memory: gigabytes (10^9 bytes) to work in; what is free if nothing is given.
        tile: side of a tile in pixels; the largest that fits if nothing is given.
        overlap: pixels that tiles share.
        tta: whether the results of the eight flips and quarter turns are averaged.
        strength: share of the result in a blend with the source: 0 is the source, 1 the result.
        sharpen: amount of a light unsharp mask: 0 is none.
        guard: whether results are refused that cannot be an edit of their source.

    Raises:
        InputError: if a value is out of its range.
    """

    method: Method = "auto"
    memory: float | None = None
    tile: int | None = None
    overlap: int = 64
    tta: bool = False
    strength: float = 1.0
    sharpen: float = 0.0
    guard: bool = True

    def __post_init__(self) -> None:
        if self.memory is not None and not 0 < self.memory < inf:
            raise InputError(f"expected a finite memory above 0 GB, got {self.memory}")
        if not 0 <= self.strength <= 1:
            raise InputError(f"expected a strength in [0, 1], got {self.strength}")
        if not 0 <= self.sharpen <= 2:
            raise InputError(f"expected an amount of sharpening in [0, 2], got {self.sharpen}")
        if self.tile is not None and self.tile < 1:
            raise InputError(f"expected tiles of 1 pixel or more, got {self.tile}")
        if self.overlap < 0:
            raise InputError(f"expected an overlap of 0 pixels or more, got {self.overlap}")
