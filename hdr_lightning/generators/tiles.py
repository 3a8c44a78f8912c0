"""Feature maps in tiles: the same numbers in less memory, and what is worked on stays in the cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isqrt

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.generators.maps import empty_map, let_go

FeatureMap = Float[Tensor, "_ _ _ _"]
"""Features of photos: photo, channel, row, column; kept in memory as channels_last."""

Area = tuple[slice, slice]
"""Rows and columns of a map."""

CACHE = 2**22
"""Bytes of the widest features of a tile; the best of powers of two on cores with 1 MiB of second-level cache."""

GPU_CACHE = 2**28
"""The same on a GPU, where it is no cache, but as much as keeps all of its cores at work."""

WHOLE = 2
"""Bytes of the widest features of a map, over those of a tile, up to which it is worked on as a whole."""

STEP = 8
"""Tiles begin and end at multiples of it, so that they can be halved."""


_cache: ContextVar[float | None] = ContextVar("cache", default=None)


@contextmanager
def strips(size: float) -> Iterator[None]:
    """Work on maps in tiles of so many bytes on any device while this lasts; on whole maps where it is infinite."""
    token = _cache.set(size)
    try:
        yield
    finally:
        _cache.reset(token)


@dataclass(frozen=True)
class Tile:
    """A piece of a map.

    Attributes:
        photo: which of the batch.
        seen: the area with its halo, where the map has one.
        place: the area itself.
        inside: where the area lies in what is seen.
        ends_row: whether it is the last one beside others.
    """

    photo: slice
    seen: Area
    place: Area
    inside: Area
    ends_row: bool

    def of(self, x: FeatureMap) -> FeatureMap:
        """What a map has there, with the halo."""
        return x[(self.photo, slice(None), *self.seen)]

    def scaled(self, scale: Fraction) -> "Tile":
        """The same piece of a map of another resolution."""
        seen, place, inside = (_scaled(area, scale) for area in (self.seen, self.place, self.inside))
        return Tile(self.photo, seen, place, inside, self.ends_row)


def _scaled(area: Area, scale: Fraction) -> Area:
    rows, columns = (slice(int(each.start * scale), int(each.stop * scale)) for each in area)
    return rows, columns


def crop(x: FeatureMap, area: Area) -> FeatureMap:
    """Cut an area out of a map."""
    return x[(slice(None), slice(None), *area)]


def tile_size(x: FeatureMap, widening: float) -> tuple[int, int] | None:
    """How many rows and columns of a map to work on at once, if that is worth while.

    Nothing where gradients are wanted, a graph is recorded, or the map is small; and on what is no CPU, unless `strips`
    wants it.

    Args:
        x: the map.
        widening: how many times as wide as the map the features are that are computed from it.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return None
    cache = _cache.get()
    if cache is None:
        cache = CACHE if x.is_cpu else inf
    pixel = x.shape[1] * widening * x.element_size()
    if x.shape[-2] * x.shape[-1] * pixel <= WHOLE * cache:
        return None
    side = max(STEP, isqrt(int(cache / pixel)) // STEP * STEP)
    return side, side


def tiles(x: FeatureMap, size: tuple[int, int], halo: int) -> Iterator[Tile]:
    """Cut a map into tiles, with so many rows and columns of their neighbours around each."""
    for photo in range(len(x)):
        for rows in _cuts(x.shape[-2], size[0], halo):
            for columns in _cuts(x.shape[-1], size[1], halo):
                seen, place, inside = zip(rows, columns, strict=True)
                yield Tile(slice(photo, photo + 1), seen, place, inside, columns[1].stop == x.shape[-1])


def _cuts(length: int, size: int, halo: int) -> Iterator[tuple[slice, slice, slice]]:
    for start in range(0, length, size):
        stop = min(length, start + size)
        first = max(0, start - halo)
        yield slice(first, min(length, stop + halo)), slice(start, stop), slice(start - first, stop - first)


def new_map(like: FeatureMap, photos: int, height: int, width: int) -> FeatureMap:
    """An empty map with the channels and type of a tile."""
    return empty_map(like, photos, height, width, like.shape[1]).permute(0, 3, 1, 2)


def in_tiles(
    function: Callable[..., FeatureMap],
    *maps: FeatureMap,
    halo: int = 0,
    scale: Fraction = Fraction(1),
    beside: Sequence[FeatureMap] = (),
) -> FeatureMap:
    """Apply a function of a neighbourhood to maps, in tiles where that is faster.

    Args:
        function: from tiles of the maps to a tile of the result; it pads with zeros beyond what it is given.
        maps: of equal height and width.
        halo: rows and columns around a pixel that the function looks at; even where the scale is 1/2.
        scale: size of the result over that of the maps, 2 or 1/2 where it resamples.
        beside: maps of the size of the result, which the function takes too.
    """
    first = maps[0]
    size = tile_size(first, widening=2)
    if size is None:
        return function(*maps, *beside)
    result: FeatureMap | None = None
    for tile in tiles(first, size, halo):
        put = tile.scaled(scale)
        part = function(*(tile.of(each) for each in maps), *(put.of(each) for each in beside))
        if result is None:
            result = new_map(part, len(first), *(int(length * scale) for length in first.shape[-2:]))
        result[(put.photo, slice(None), *put.place)] = crop(part, put.inside)
        if tile.ends_row:
            let_go(*maps, *beside, result)
    assert result is not None
    return result
