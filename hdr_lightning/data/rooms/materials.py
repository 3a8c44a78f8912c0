"""Procedural materials: the colour (linear reflectance) of a surface at points given in metres."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Pattern = Callable[["Material", Floats, Floats], Floats]


@dataclass(frozen=True)
class Material:
    """A surface's look.

    Attributes:
        pattern: name of an entry of `PATTERNS`.
        colors: linear RGB reflectances, as many as the pattern uses; missing ones repeat the last.
        scale: size of the pattern's unit (plank, tile, fold, book) in metres.
        seed: which variation.
    """

    pattern: str
    colors: tuple[tuple[float, float, float], ...]
    scale: float = 0.1
    seed: int = 0

    def color(self, number: int) -> Floats:
        return np.asarray(self.colors[min(number, len(self.colors) - 1)], np.float32)

    def reflectance(self, u: Floats, v: Floats) -> Floats:
        """Colour at surface coordinates in metres (v is up on walls).

        Returns:
            Linear RGB, (points, 3), in [0, 0.95].
        """
        return np.clip(PATTERNS[self.pattern](self, u, v), 0.0, 0.95)


def cell_noise(x: Floats, y: Floats, seed: int) -> Floats:
    """A random number in [0, 1) for every unit cell of the plane, the same for the same seed."""
    h = np.floor(x).astype(np.int64).astype(np.uint32) * np.uint32(0x8DA6B343)
    h ^= np.floor(y).astype(np.int64).astype(np.uint32) * np.uint32(0xD8163841)
    h ^= np.uint32((seed * 0xCB1AB31F) & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    h ^= h >> np.uint32(16)
    return (h >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def smooth_noise(x: Floats, y: Floats, seed: int, octaves: int = 1) -> Floats:
    """Value noise in [0, 1): random at whole numbers, smooth between, finer and weaker each octave."""
    total, weight = np.zeros_like(x), 0.0
    for octave in range(octaves):
        fx, fy = x * 2**octave, y * 2**octave
        ix, iy = np.floor(fx), np.floor(fy)
        tx, ty = fx - ix, fy - iy
        tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
        s = seed + 101 * octave
        low = cell_noise(ix, iy, s) * (1 - tx) + cell_noise(ix + 1, iy, s) * tx
        high = cell_noise(ix, iy + 1, s) * (1 - tx) + cell_noise(ix + 1, iy + 1, s) * tx
        total += 0.5**octave * (low * (1 - ty) + high * ty)
        weight += 0.5**octave
    return total / np.float32(weight)


def near_edge(x: Floats, width: float) -> Floats:
    """1 within `width` of a whole number, else 0: the joints of planks and tiles."""
    fraction = x - np.floor(x)
    return ((fraction < width) | (fraction > 1 - width)).astype(np.float32)


def _mix(a: Floats, b: Floats, share: Floats) -> Floats:
    return a + (b - a) * share[:, None]


def _paint(m: Material, u: Floats, v: Floats) -> Floats:
    tone = 0.97 + 0.06 * smooth_noise(u * 1.3, v * 1.3, m.seed, 2)
    return m.color(0) * (tone + 0.02 * cell_noise(u * 250, v * 250, m.seed))[:, None]


def _planks(m: Material, u: Floats, v: Floats) -> Floats:
    row = np.floor(u / m.scale)
    along = v / (9 * m.scale) + cell_noise(row, row, m.seed) * 7
    tone = 0.75 + 0.5 * cell_noise(row, along, m.seed + 1)
    tone *= 0.8 + 0.4 * smooth_noise(u * 60, v * 3, m.seed + 2, 2)
    joint = np.maximum(near_edge(u / m.scale, 0.02), near_edge(along, 0.003))
    return m.color(0) * (tone * (1 - 0.6 * joint))[:, None]


def _tiles(m: Material, u: Floats, v: Floats) -> Floats:
    x, y = u / m.scale, v / m.scale
    checker = ((np.floor(x) + np.floor(y)) % 2).astype(np.float32)
    tone = 0.92 + 0.1 * cell_noise(x, y, m.seed) + 0.1 * (smooth_noise(u * 9, v * 9, m.seed + 1, 3) - 0.5)
    joint = np.maximum(near_edge(x, 0.02), near_edge(y, 0.02))
    return _mix(m.color(0), m.color(1), checker) * (tone * (1 - 0.35 * joint))[:, None]


def _fabric(m: Material, u: Floats, v: Floats) -> Floats:
    tone = 0.8 + 0.25 * cell_noise(u * 220, v * 220, m.seed) + 0.2 * (smooth_noise(u * 5, v * 5, m.seed + 1, 3) - 0.5)
    return m.color(0) * tone[:, None]


def _rug(m: Material, u: Floats, v: Floats) -> Floats:
    wave = smooth_noise(u / m.scale, v / m.scale, m.seed, 1) + 0.25 * np.sin(6.283 * u / m.scale)
    return (
        _mix(m.color(0), m.color(1), (wave > 0.5).astype(np.float32))
        * (0.8 + 0.3 * cell_noise(u * 180, v * 180, m.seed))[:, None]
    )


def _wood(m: Material, u: Floats, v: Floats) -> Floats:
    grain = smooth_noise(u * 4, v * 45, m.seed, 3)
    return m.color(0) * (0.75 + 0.45 * grain)[:, None]


def _drawers(m: Material, u: Floats, v: Floats) -> Floats:
    x, y = u / (2.2 * m.scale), v / m.scale
    gap = np.maximum(near_edge(x, 0.012), near_edge(y, 0.025))
    handle = (np.abs(x - np.floor(x) - 0.5) < 0.12) & (np.abs(y - np.floor(y) - 0.78) < 0.05)
    return _wood(m, u, v) * (1 - 0.7 * gap)[:, None] * (1 - 0.6 * handle.astype(np.float32))[:, None]


def _books(m: Material, u: Floats, v: Floats) -> Floats:
    shelf = np.floor(v / 0.32)
    x, height = u / m.scale, v / 0.32 - shelf
    tall = 0.55 + 0.35 * cell_noise(x, shelf, m.seed)
    hue = cell_noise(x, shelf, m.seed + 1)
    spine = np.stack([0.08 + 0.5 * cell_noise(x, shelf, m.seed + 2 + c) * (0.4 + 0.6 * hue) for c in range(3)], axis=1)
    spine *= (1 - 0.5 * near_edge(x, 0.06))[:, None]
    empty = (height > tall) | (cell_noise(x / 4, shelf, m.seed + 9) > 0.85)
    board = (height < 0.07) | (height > 0.97)
    inside = np.where(empty[:, None], m.color(0) * 0.25, spine)
    return np.where(board[:, None], m.color(0), inside).astype(np.float32)


def _art(m: Material, u: Floats, v: Floats) -> Floats:
    field = smooth_noise(u / m.scale, v / m.scale, m.seed, 3)
    other = smooth_noise(u / m.scale, v / m.scale, m.seed + 7, 2)
    picture = _mix(_mix(m.color(0), m.color(1), (field > 0.5).astype(np.float32)), m.color(2), np.square(other))
    return picture * (0.8 + 0.4 * field)[:, None]


def _panels(m: Material, u: Floats, v: Floats) -> Floats:
    x, y = u / (4.5 * m.scale), v / (8 * m.scale)
    fx, fy = np.abs(x - np.floor(x) - 0.5), np.abs(y - np.floor(y) - 0.5)
    rim = (np.abs(fx - 0.34) < 0.02) & (fy < 0.42) | (np.abs(fy - 0.42) < 0.012) & (fx < 0.36)
    return m.color(0) * (1 - 0.3 * rim.astype(np.float32))[:, None]


def _folds(m: Material, u: Floats, v: Floats) -> Floats:
    phase = u / m.scale + 0.6 * smooth_noise(u * 3, v * 0.4, m.seed, 2)
    return m.color(0) * (0.62 + 0.38 * np.cos(6.283 * phase))[:, None]


def _fins(m: Material, u: Floats, v: Floats) -> Floats:
    return m.color(0) * (0.7 + 0.3 * np.cos(6.283 * u / m.scale))[:, None]


def _leaves(m: Material, u: Floats, v: Floats) -> Floats:
    leaf = smooth_noise(u * 30, v * 18, m.seed, 2)
    return _mix(m.color(0), m.color(1), leaf) * (0.35 + 1.1 * leaf)[:, None]


PATTERNS: dict[str, Pattern] = {
    "paint": _paint,
    "planks": _planks,
    "tiles": _tiles,
    "fabric": _fabric,
    "rug": _rug,
    "wood": _wood,
    "drawers": _drawers,
    "books": _books,
    "art": _art,
    "panels": _panels,
    "folds": _folds,
    "fins": _fins,
    "leaves": _leaves,
}
