"""What a pass of a network occupies, added up without making it."""

import copy
import gc
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.tiles import CACHE, GPU_CACHE, strips
from hdr_lightning.image.tiling import run_padded
from hdr_lightning.ledger import WEIGHTS, Ledger

PASS = "pass"

SIDE = 256
"""Pixels on the shorter side of the pictures with which is counted."""

TILES = 6
"""About how many tiles the widest features of such a picture are cut into."""

SPARE = 0.05
"""Share set aside for workspaces of kernels and holes between tensors; an allowance, not a measurement."""

Kind = Literal["whole", "strips"]


@dataclass(frozen=True)
class Need:
    """What a pass occupies beside the weights and the picture.

    Attributes:
        pixel: bytes a pixel.
        fixed: bytes whatever the size.
    """

    pixel: float
    fixed: float

    def of(self, pixels: int) -> float:
        """Bytes for a picture of so many pixels, with what is to spare."""
        return (1 + SPARE) * (self.pixel * pixels + self.fixed)

    def pixels(self, memory: float) -> float:
        """How many pixels fit so many bytes."""
        return max(0.0, (memory / (1 + SPARE) - self.fixed) / self.pixel)


_known: WeakKeyDictionary[Generator, dict[tuple[Kind, torch.device], Need]] = WeakKeyDictionary()
_lock = Lock()


def need(generator: Generator, kind: Kind, device: torch.device) -> Need:
    """What a pass of a generator needs: counted at two sizes once, from which all others follow.

    Args:
        generator: on the device; it is only looked at.
        kind: whole maps, or strips of them.
        device: where it computes.
    """
    with _lock:
        known = _known.setdefault(generator, {})
        if (kind, device) not in known:
            known[kind, device] = _count(generator, kind, device)
        return known[kind, device]


def _count(generator: Generator, kind: Kind, device: torch.device) -> Need:
    gc.collect()  # what is freed late would be counted
    side = -(-SIDE // generator.stride) * generator.stride
    cache, scale = inf, 1.0
    if kind == "strips":
        whole = _count(generator, "whole", device)
        cache = whole.pixel * side**2 / TILES / 4  # features lie there up to four times at once
        scale = (CACHE if device.type == "cpu" else GPU_CACHE) / cache  # what is fixed is that of a tile
    small, large = (_peak(generator, (side, width), device, cache) for width in (side, 2 * side))
    return Need((large - small) / side**2, scale * max(0, 2 * small - large))


def _peak(generator: Generator, size: tuple[int, int], device: torch.device, cache: float) -> int:
    """Bytes at the fullest moment of a pass, beside the weights."""
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        twin = copy.deepcopy(generator)
    ledger = Ledger()
    with mode, torch.inference_mode(), strips(cache):
        for tensor in (*twin.parameters(), *twin.buffers()):
            ledger.count(tensor, WEIGHTS)
        ledger.kind = PASS
        image = torch.empty(1, generator.in_channels, *size, device=device)
        with ledger:
            run_padded(twin, image, twin.stride)
    return ledger.peaks[PASS][PASS]
