"""Light on what is seen.

Direct from the windows (area lights with soft shadows), from the sun through them, and from lamps; plus one uniform
term for all that bounces, darkened near corners and furniture. All but the sun's light is smooth enough to be computed
at half resolution and spread within surfaces.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.rooms.cast import (
    FACES_AN_OBJECT,
    NORMALS,
    SUPERSAMPLING,
    Hits,
    dot,
    inverse_of,
    length,
    passage,
)
from hdr_lightning.data.rooms.materials import Floats
from hdr_lightning.data.rooms.scene import CEILING, FLOOR, LEFT, RIGHT, Room, Window
from hdr_lightning.data.rooms.shade import face_coordinates, glazing

SUN = np.array([26.0, 23.5, 19.0], np.float32)
"""Irradiance of the sun, for a sky of radiance 1."""
GROUND = np.array([0.22, 0.24, 0.16], np.float32)
"""Radiance of the ground outside, for a sky of radiance 1."""


def light(room: Room, hits: Hits, reflectance: Floats, rows: int, columns: int) -> Floats:
    """Irradiance of every hit: the sun's, whose edges are sharp, sample by sample; all other light coarsely."""
    sun = np.zeros_like(hits.distance)
    if room.outdoors.sun is not None:
        for window in room.windows:
            sun += _sunlight(room, window, hits.point + 2e-3 * hits.normal, hits.normal)

    step = 2 * SUPERSAMPLING
    at_row = np.minimum(np.arange(-(-rows // step)) * step + step // 2, rows - 1)
    at_column = np.minimum(np.arange(-(-columns // step)) * step + step // 2, columns - 1)
    coarse = (at_row[:, None] * columns + at_column[None, :]).ravel()
    point, normal = hits.point[coarse] + 2e-3 * hits.normal[coarse], hits.normal[coarse]
    soft = _soft_light(room, point, normal)

    shining = reflectance[coarse] * (soft + sun[coarse, None] * SUN)
    bounced = shining.mean(axis=0) / (1 - min(0.75, float(reflectance[coarse].mean())))
    soft += bounced * _openness(room, hits.surface[coarse], point)[:, None]
    return _spread(soft, hits.surface, coarse, (len(at_row), len(at_column)), rows, columns) + sun[:, None] * SUN


def _spread(
    light: Floats, surface: NDArray[np.int32], coarse: NDArray[np.int64], grid: tuple[int, int], rows: int, columns: int
) -> Floats:
    """Interpolate values given at the samples `coarse` to all samples, never across the edge of a surface."""
    step = 2 * SUPERSAMPLING
    y, x = (
        (np.arange(rows, dtype=np.float32) - step // 2) / step,
        (np.arange(columns, dtype=np.float32) - step // 2) / step,
    )
    y0, x0 = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    total, weights = np.zeros((rows * columns, 3), np.float32), np.zeros(rows * columns, np.float32)
    for dy, wy in ((0, 1 - (y - y0)), (1, y - y0)):
        for dx, wx in ((0, 1 - (x - x0)), (1, x - x0)):
            source = (np.clip(y0 + dy, 0, grid[0] - 1)[:, None] * grid[1] + np.clip(x0 + dx, 0, grid[1] - 1)).ravel()
            same = np.where(surface[coarse][source] == surface, np.float32(1), np.float32(1e-3))
            weight = (wy[:, None] * wx + np.float32(1e-4)).ravel().astype(np.float32) * same
            total += light[source] * weight[:, None]
            weights += weight
    return total / weights[:, None]


def _soft_light(room: Room, point: Floats, normal: Floats) -> Floats:
    """Irradiance straight from windows and lamps."""
    light = np.zeros_like(point)
    sky = np.asarray(room.outdoors.sky, np.float32)
    for window in room.windows:
        outward = NORMALS[window.face]
        for spot, area in _samples(room, window):
            offset = spot - point
            square = np.maximum(dot(offset, offset), area)
            toward = offset / np.sqrt(square)[:, None]
            received = np.maximum(dot(toward, normal), 0) * np.maximum(toward @ outward, 0) * area / square
            some = np.flatnonzero(received > 1e-5)
            clear = some[~_blocked(room, point[some], offset[some])]
            above = np.clip(0.5 + 2.5 * toward[clear, 1], 0, 1)[:, None]
            light[clear] += received[clear, None] * (sky * above + GROUND * (1 - above))
    for lamp in room.lamps:
        offset = np.asarray(lamp.position, np.float32) - point
        square = np.maximum(dot(offset, offset), 0.02)
        received = np.maximum(dot(offset, normal), 0) / (square * np.sqrt(square))
        received = received * ~_blocked(room, point, offset * np.float32(0.9))
        light += received[:, None] * np.asarray(lamp.intensity, np.float32)
    return light


def _samples(room: Room, window: Window) -> Iterator[tuple[Floats, np.float32]]:
    """Points spread over a window, each with its share of the area."""
    counts = (4, 3)
    width, height = window.high[0] - window.low[0], window.high[1] - window.low[1]
    area = np.float32(width * height / (counts[0] * counts[1]))
    rng = np.random.default_rng(room.outdoors.seed)
    for i, j in np.ndindex(counts):
        u = window.low[0] + (i + rng.uniform(0.2, 0.8)) / counts[0] * width
        v = window.low[1] + (j + rng.uniform(0.2, 0.8)) / counts[1] * height
        far = room.size[window.face // 2] if window.face % 2 else 0.0
        yield np.array((far, v, u) if window.face in (LEFT, RIGHT) else (u, v, far), np.float32), area


def _blocked(room: Room, point: Floats, offset: Floats) -> NDArray[np.bool_]:
    """Whether furniture stands between points and points + offset."""
    blocked = np.zeros(len(point), bool)
    origin, inverse = np.ascontiguousarray(point.T), inverse_of(offset)
    for box in room.boxes:
        if box.casts:
            enter, leave = passage(box, origin, inverse)
            blocked |= (enter < leave) & (leave > 1e-3) & (enter < 0.98)
    return blocked


def _sunlight(room: Room, window: Window, point: Floats, normal: Floats) -> Floats:
    """Cosine of the sun where it shines through a window onto points, else 0."""
    sun = np.asarray(room.outdoors.sun, np.float32)
    axis = window.face // 2
    if sun @ NORMALS[window.face] < 0.05:
        return np.zeros(len(point), np.float32)
    plane = np.float32(room.size[axis] if window.face % 2 else 0.0)
    reach = (plane - point[:, axis]) / sun[axis]
    u, v = face_coordinates(window.face, point + sun * reach[:, None])
    cosine = np.maximum(normal @ sun, 0) * glazing(window, u, v)[1]
    some = np.flatnonzero(cosine > 0)
    cosine[some[_blocked(room, point[some], sun * reach[some, None])]] = 0
    return cosine


def _openness(room: Room, surface: NDArray[np.int32], point: Floats) -> Floats:
    """How freely bounced light reaches points: less in the corners of the room and beside furniture."""
    size = np.asarray(room.size, np.float32)
    own = np.where(surface < FACES_AN_OBJECT, surface, -1)
    open_share = np.ones(len(point), np.float32)
    for face in range(6):
        axis = face // 2
        gap = size[axis] - point[:, axis] if face % 2 else point[:, axis]
        strength = 0.25 if face in (FLOOR, CEILING) else 0.35
        open_share *= np.where(own == face, 1, 1 - strength * np.exp(-np.maximum(gap, 0) / 0.35))
    number = surface // FACES_AN_OBJECT
    for index, box in enumerate(room.boxes, 1):
        if box.casts:
            outside = np.maximum(
                np.maximum(np.asarray(box.low, np.float32) - point, point - np.asarray(box.high, np.float32)), 0
            )
            gap = length(outside)
            open_share *= np.where(number == index, 1, 1 - 0.55 * np.exp(-gap / 0.15))
    return open_share
