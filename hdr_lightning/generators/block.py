"""The block that all of these networks are made of: two local passes around a sum over the picture."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hdr_lightning.generators.maps import let_go
from hdr_lightning.generators.statistics import shared
from hdr_lightning.generators.tiles import Area, FeatureMap, crop, new_map, tile_size, tiles

Count = Any
"""An int, or a torch.SymInt where a graph is recorded for any size."""

Weights = tuple[tuple[Tensor, Tensor | None], ...]
"""Weight and bias of each convolution of a block."""


class Block(nn.Module, ABC):
    """A block whose only global operation is a sum over pixels, such as channel attention or global pooling.

    One definition runs on a whole picture, in training, and in tiles, which is faster and bounds the memory: `look` at
    every tile, add up what `summarise` says of it, and `finish` every tile with what the sums came to. Weights are
    brought into the form that the passes want once a call, by `prepare`.

    Attributes:
        look_halo: rows and columns around a pixel that `look` needs.
        finish_halo: rows and columns around a pixel that `finish` needs.
        widening: how many times as wide as its input the widest features of the block are.
        runs_in_strips: whether it works on nothing of the whole picture but its input and result.
        checkpointed: whether training keeps the input of the block alone and computes the rest again for the gradient.
    """

    look_halo: int = 1
    finish_halo: int = 0
    widening: float = 2
    runs_in_strips: bool = True
    checkpointed: bool = False

    @abstractmethod
    def prepare(self, like: FeatureMap) -> Weights:
        """The weights of the two passes, in the precision of the computation."""

    @abstractmethod
    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        """Features of a tile, from its neighbourhood."""

    @abstractmethod
    def summarise(self, seen: FeatureMap) -> tuple[FeatureMap, tuple[Tensor, ...]]:
        """What to keep of the features, and sums over their pixels, a row a photo."""

    @abstractmethod
    def conclude(self, sums: tuple[Tensor, ...], pixels: Count) -> Tensor:
        """What the sums over a picture of so many pixels come to."""

    @abstractmethod
    def finish(
        self,
        x: FeatureMap,
        kept: FeatureMap,
        conclusion: Tensor,
        weights: Weights,
        inside: Area,
        *guides: FeatureMap,
    ) -> FeatureMap:
        """The result of the area inside a tile."""

    def forward(self, x: Float[Tensor, "n c h w"], *guides: Float[Tensor, "n g h w"]) -> Float[Tensor, "n c h w"]:
        if self.checkpointed and torch.is_grad_enabled():
            result: FeatureMap = checkpoint(self._whole, x, *guides, use_reentrant=False)
            return result
        size = tile_size(x, self.widening)
        return self._whole(x, *guides) if size is None else self._in_tiles(size, x, *guides)

    def _whole(self, x: FeatureMap, *guides: FeatureMap) -> FeatureMap:
        weights = self.prepare(x)
        kept, sums = self.summarise(self.look(x, weights))
        conclusion = self.conclude(*shared(sums, x.shape[-2] * x.shape[-1]))
        return self.finish(x, kept, conclusion, weights, (slice(None), slice(None)), *guides)

    def _in_tiles(self, size: tuple[int, int], x: FeatureMap, *guides: FeatureMap) -> FeatureMap:
        weights = self.prepare(x)
        height, width = x.shape[-2:]
        kept: FeatureMap | None = None
        totals: dict[int, tuple[Tensor, ...]] = {}
        for tile in tiles(x, size, self.look_halo):
            part, sums = self.summarise(crop(self.look(tile.of(x), weights), tile.inside))
            if kept is None:
                kept = new_map(part, len(x), height, width)
            kept[(tile.photo, slice(None), *tile.place)] = part
            if tile.ends_row:
                let_go(x, kept)
            before = totals.get(tile.photo.start)
            totals[tile.photo.start] = (
                sums if before is None else tuple(a + b for a, b in zip(before, sums, strict=True))
            )
        conclusions = {photo: self.conclude(*shared(total, height * width)) for photo, total in totals.items()}

        assert kept is not None
        result = new_map(x, len(x), height, width)
        for tile in tiles(x, size, self.finish_halo):
            conclusion, more = conclusions[tile.photo.start], [tile.of(guide) for guide in guides]
            part = self.finish(tile.of(x), tile.of(kept), conclusion, weights, tile.inside, *more)
            result[(tile.photo, slice(None), *tile.place)] = part
            if tile.ends_row:
                let_go(x, kept, result, *guides)
        return result
