"""Colour of what is seen: materials, lamps, and the world outside the windows."""

import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.rooms.cast import FACES_AN_OBJECT, Hits, dot
from hdr_lightning.data.rooms.materials import Floats, cell_noise, near_edge, smooth_noise
from hdr_lightning.data.rooms.scene import BACK, LEFT, RIGHT, WHITE, Outdoors, Room, Window


def face_coordinates(face: int, point: Floats) -> tuple[Floats, Floats]:
    """Coordinates on a face: z, y on the sides, x, z flat, x, y in front and behind."""
    x, y, z = point.T
    return {0: (z, y), 1: (x, z), 2: (x, y)}[face // 2]


def shade(room: Room, hits: Hits) -> tuple[Floats, Floats, Floats]:
    """Reflectance, emission and glass of every hit."""
    reflectance = np.zeros_like(hits.direction)
    emission = np.zeros_like(hits.direction)
    glass = np.zeros_like(hits.distance)
    point = hits.point
    order = np.argsort(hits.surface, kind="stable")
    surfaces, starts = np.unique(hits.surface[order], return_index=True)
    for surface, at in zip(surfaces.tolist(), np.split(order, starts[1:]), strict=True):
        number, face = divmod(surface, FACES_AN_OBJECT)
        u, v = face_coordinates(face, point[at])
        if number == 0:
            reflectance[at] = room.faces[face].reflectance(u, v)
            for patch in room.patches:
                if patch.face == face:
                    on = _inside(u, v, patch.low, patch.high)
                    local_u, local_v = u[on] - np.float32(patch.low[0]), v[on] - np.float32(patch.low[1])
                    reflectance[at[on]] = patch.material.reflectance(local_u, local_v)
            for window in room.windows:
                if window.face == face:
                    frame, pane = glazing(window, u, v)
                    reflectance[at[frame]] = WHITE.reflectance(u[frame], v[frame])
                    reflectance[at[pane]] = 0
                    emission[at[pane]] = room.outdoors.glare * _outside(room.outdoors, hits.direction[at[pane]])
                    glass[at[pane]] = 1
        elif number <= len(room.boxes):
            box = room.boxes[number - 1]
            looks_in = box.front is not None and face in (LEFT, RIGHT, BACK)
            material = box.front if looks_in and box.front is not None else box.material
            reflectance[at] = material.reflectance(u - np.float32(box.low[2 if face < 2 else 0]), v)
        else:
            ball = room.balls[number - 1 - len(room.boxes)]
            if ball.glow is None:
                offset = point[at] - np.asarray(ball.center, np.float32)
                reflectance[at] = ball.material.reflectance(np.arctan2(offset[:, 0], offset[:, 2]) * ball.radius, v)
            else:
                facing = -dot(hits.normal[at], hits.direction[at])[:, None]
                emission[at] = np.asarray(ball.glow, np.float32) * (0.35 + 0.65 * facing)
    return reflectance, emission, glass


def _inside(u: Floats, v: Floats, low: tuple[float, float], high: tuple[float, float]) -> NDArray[np.bool_]:
    return (u >= low[0]) & (u < high[0]) & (v >= low[1]) & (v < high[1])


def glazing(window: Window, u: Floats, v: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points lie on a window's frame, and which on its glass."""
    rim = 0.07
    outer = _inside(u, v, (window.low[0] - rim, window.low[1] - rim), (window.high[0] + rim, window.high[1] + rim))
    inner = _inside(u, v, window.low, window.high)
    for x, low, high, count in (
        (u, window.low[0], window.high[0], window.panes[0]),
        (v, window.low[1], window.high[1], window.panes[1]),
    ):
        inner &= near_edge((x - np.float32(low)) * np.float32(count / (high - low)), 0.025 * count / (high - low)) == 0
    return outer & ~inner, inner


def _outside(outdoors: Outdoors, direction: Floats) -> Floats:
    """Radiance of sky, clouds, a row of trees and houses, and grass."""
    azimuth = np.arctan2(direction[:, 0], direction[:, 2])
    elevation = direction[:, 1] / np.hypot(direction[:, 0], direction[:, 2])
    seed, lit = outdoors.seed, 1.35 if outdoors.sun else 0.8

    height = np.clip(elevation, 0, 1.2)[:, None]
    blue = np.array([0.42, 0.66, 1.12], np.float32) * (1 - 0.35 * height) + np.array(
        [0.55, 0.38, 0.1], np.float32
    ) * np.exp(-5 * height)
    cloud = smooth_noise(azimuth * 3, elevation * 9, seed, 4) + np.float32(outdoors.clouds - 0.5)
    cloud = np.clip((cloud - 0.5) * 4, 0, 1)[:, None]
    color = (blue * (1 - cloud) + np.float32(1.25) * cloud).astype(np.float32)

    tops = 0.03 + outdoors.skyline * smooth_noise(azimuth * 7, np.zeros_like(azimuth), seed + 3, 5)
    leaf = smooth_noise(azimuth * 60, elevation * 60, seed + 4, 4)[:, None]
    trees = (np.array([0.03, 0.055, 0.02], np.float32) + np.array([0.17, 0.22, 0.08], np.float32) * leaf**2) * lit
    color = np.where((elevation < tops)[:, None], trees, color)

    column = azimuth * 4
    roof = 0.05 + (0.12 + outdoors.skyline) * cell_noise(column, np.zeros_like(column), seed + 5)
    built = (cell_noise(column, np.zeros_like(column), seed + 6) > 0.5) & (elevation < roof)
    tone = 0.25 + 0.5 * cell_noise(column, np.zeros_like(column), seed + 7)
    panes = (1 - near_edge(column * 5, 0.25)) * (1 - near_edge(elevation * 22, 0.25))
    house = np.array([1.0, 0.9, 0.78], np.float32) * (tone * lit * (1 - 0.55 * panes))[:, None]
    color = np.where(built[:, None], house, color)

    blade = smooth_noise(azimuth * 25, 3 / np.maximum(0.02, 0.02 - elevation), seed + 8, 3)[:, None]
    grass = (np.array([0.10, 0.13, 0.05], np.float32) + np.array([0.13, 0.15, 0.07], np.float32) * blade) * lit
    return np.where((elevation < 0)[:, None], grass, color).astype(np.float32)
