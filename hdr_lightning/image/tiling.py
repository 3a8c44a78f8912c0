"""Pictures of any size through functions that want certain sizes, or no more than certain sizes."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Function = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n o h w"]]
"""Keeps height and width."""


def run_padded(function: Function, image: Float[Tensor, "n c h w"], stride: int) -> Float[Tensor, "n o h w"]:
    """Apply a function that wants multiples of `stride` to pictures of any size.

    Rows below and columns on the right are added by reflection (by repeating the edge where a picture is too small
    to reflect) and cut from the result.

    Args:
        function: keeps height and width.
        image: pictures of any size.
        stride: what height and width given to `function` are multiples of.
    """
    height, width = image.shape[-2:]
    below, right = -height % stride, -width % stride
    if not below and not right:
        return function(image)
    mode = "reflect" if below < height and right < width else "replicate"
    padded = F.pad(image, (0, right, 0, below), mode=mode)
    return function(padded)[..., :height, :width]


class Tiled(NamedTuple):
    """What came of tiles.

    Attributes:
        image: blended.
        seam: mean absolute difference of neighbouring tiles where they are blended, before that; 0 where none are.
    """

    image: Float[Tensor, "n o h w"]
    seam: float


def run_tiled(function: Function, image: Float[Tensor, "n c h w"], tile: int, overlap: int, stride: int = 1) -> Tiled:
    """Apply a function to overlapping tiles of pictures, and blend what it makes of them.

    Pictures are padded as by `run_padded`, and then cut at multiples of `stride`, so that a tile is what the whole is
    there. Of an overlap the outer quarters are thrown away, and the half between them is blended, by half a
    cosine. So the result of a function that looks `r` pixels far is that of the whole picture, bit for bit, where
    `overlap >= 4 * r`; a border of the picture is the border of a tile, and nothing is thrown away there.

    Args:
        function: keeps height and width.
        image: pictures of any size.
        tile: side of the tiles, a multiple of `stride`.
        overlap: pixels that neighbouring tiles share at least; rounded up to a multiple of `stride`.
        stride: what height and width given to `function` are multiples of.

    Raises:
        ValueError: if the tile is no multiple of the stride, or not larger than the overlap.
    """
    overlap += -overlap % stride
    if tile % stride or not 0 <= overlap < tile:
        raise ValueError(f"expected tiles of a multiple of {stride} pixels, more than {overlap}, got {tile}")
    seams: list[Tensor] = []

    def run(padded: Float[Tensor, "n c hp wp"]) -> Float[Tensor, "n o hp wp"]:
        whole = _Blend(padded.shape[-2], -2, seams)
        for top, bottom in _cuts(padded.shape[-2], tile, overlap, stride):
            band = _Blend(padded.shape[-1], -1, seams)
            for left, right in _cuts(padded.shape[-1], tile, overlap, stride):
                band.add(function(padded[..., top:bottom, left:right]), left)
            whole.add(band.total, top)
        return whole.total

    result = run_padded(run, image, stride)
    differences, values = torch.stack(seams).sum(dim=0).tolist() if seams else (0.0, 0.0)
    return Tiled(result, differences / values if values else 0.0)


def _cuts(length: int, tile: int, overlap: int, stride: int) -> list[tuple[int, int]]:
    """Where tiles begin and end: as few as will do, as far from each other as possible."""
    if length <= tile:
        return [(0, length)]
    steps = -(-(length - tile) // (tile - overlap))
    starts = [(length - tile) * step // steps // stride * stride for step in range(steps + 1)]
    return [(start, start + tile) for start in starts]


class _Blend:
    """Pieces blended along one side, each into those before it; equal values stay what they are, to the bit."""

    def __init__(self, length: int, dim: int, seams: list[Tensor]) -> None:
        self.length, self.dim, self.seams = length, dim, seams
        self.reached = 0

    def add(self, piece: Tensor, start: int) -> None:
        if not self.reached:
            shape = list(piece.shape)
            shape[self.dim] = self.length
            self.total = piece.new_empty(shape)
        overlap = self.reached - start
        margin = overlap // 4
        ramp = overlap - 2 * margin
        if ramp:
            weight = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(ramp, dtype=piece.dtype) + 0.5) / ramp)
            weight = weight.to(piece.device).view((-1, 1) if self.dim == -2 else (-1,))
            before = self.total.narrow(self.dim, start + margin, ramp)
            difference = piece.narrow(self.dim, margin, ramp) - before
            self.seams.append(torch.tensor([difference.abs().sum(dtype=torch.float64), difference.numel()]))
            before += weight * difference
        done = margin + ramp
        size = piece.shape[self.dim]
        self.total.narrow(self.dim, start + done, size - done).copy_(piece.narrow(self.dim, done, size - done))
        self.reached = start + size
