"""Geometry of seeing: what each ray of the camera meets first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.rooms.materials import Floats
from hdr_lightning.data.rooms.scene import Ball, Box, Room

SUPERSAMPLING = 2
"""Samples a pixel, across and down."""
FACES_AN_OBJECT = 8
NORMALS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]], np.float32)
"""Outward normals of the faces of a box."""


@dataclass
class Hits:
    """The first surface on each ray; flat arrays over the supersampled picture."""

    origin: Floats
    direction: Floats
    distance: Floats
    normal: Floats
    surface: NDArray[np.int32]
    """8 x object + face; object 0 is the room, then boxes, then balls."""

    @property
    def point(self) -> Floats:
        return self.origin + self.direction * self.distance[:, None]


def dot(a: Floats, b: Floats) -> Floats:
    """Products of vectors, (points, 3) twice to (points,); `sum(axis=1)` over three numbers is ten times slower."""
    product: Floats = np.einsum("ij,ij->i", a, b)
    return product


def length(vectors: Floats) -> Floats:
    """Lengths of vectors, (points, 3) to (points,)."""
    return np.sqrt(dot(vectors, vectors))


def cast(room: Room, rows: int, columns: int) -> Hits:
    """Find what is seen at each of rows x columns samples."""
    camera = room.camera
    y, x = np.meshgrid(
        1 - (np.arange(rows, dtype=np.float32) + 0.5) * 2 / rows,
        (np.arange(columns, dtype=np.float32) + 0.5) * 2 / columns - 1,
        indexing="ij",
    )
    x = x.ravel() * np.float32(camera.tangent)
    y = (y.ravel() + np.float32(camera.shift)) * np.float32(camera.tangent * rows / columns)
    cos, sin = np.float32(np.cos(camera.yaw)), np.float32(np.sin(camera.yaw))
    direction = np.stack([x * cos + sin, y, cos - x * sin], axis=1)
    direction /= length(direction)[:, None]
    origin = np.asarray(camera.position, np.float32)

    inverse = inverse_of(direction)
    forward = inverse > 0
    walls = (forward * np.asarray(room.size, np.float32)[:, None] - origin[:, None]) * inverse
    axis = walls.argmin(axis=0)
    face = 2 * axis + np.take_along_axis(forward, axis[None], 0)[0]
    distance = np.take_along_axis(walls, axis[None], 0)[0]
    hits = Hits(origin, direction, distance, -NORMALS[face], face.astype(np.int32))

    grid: NDArray[np.int64] = np.arange(rows * columns).reshape(rows, columns)
    things: list[Box | Ball] = [*room.boxes, *room.balls]
    for number, thing in enumerate(things, 1):
        height, width = _extent(room, thing, rows, columns)
        seen = grid[height, width].ravel()
        if isinstance(thing, Box):
            _hit_box(hits, thing, number, seen)
        else:
            _hit_ball(hits, thing, number, seen)
    return hits


def _extent(room: Room, thing: Box | Ball, rows: int, columns: int) -> tuple[slice, slice]:
    """The part of the picture in which a thing can be, from its projected corners."""
    if isinstance(thing, Box):
        low, high = np.array(thing.low), np.array(thing.high)
    else:
        reach = thing.radius * np.array([1, thing.tall, 1])
        low, high = np.array(thing.center) - reach, np.array(thing.center) + reach
    camera = room.camera
    corners = np.array([[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i, j, k in np.ndindex(2, 2, 2)])
    offset = corners - camera.position
    cos, sin = np.cos(camera.yaw), np.sin(camera.yaw)
    depth = offset[:, 0] * sin + offset[:, 2] * cos
    if depth.max() <= 0.02:
        return slice(0, 0), slice(0, 0)
    if depth.min() <= 0.02:  # it passes the camera: no bound is safe
        return slice(0, rows), slice(0, columns)
    x = (offset[:, 0] * cos - offset[:, 2] * sin) / depth / camera.tangent
    y = offset[:, 1] / depth / (camera.tangent * rows / columns) - camera.shift
    left, right = (x.min() + 1) / 2 * columns - 1, (x.max() + 1) / 2 * columns + 2
    top, bottom = (1 - y.max()) / 2 * rows - 1, (1 - y.min()) / 2 * rows + 2

    def clip(a: float, b: float, end: int) -> slice:
        return slice(int(np.clip(a, 0, end)), int(np.clip(b, 0, end)))

    return clip(top, bottom, rows), clip(left, right, columns)


def passage(box: Box, origin: Floats, inverse: Floats) -> tuple[Floats, Floats]:
    """Distances at which rays enter and leave a box.

    Args:
        box: what is in the way.
        origin: where the rays start, (3, rays) or (3, 1).
        inverse: one over their direction, (3, rays).
    """
    enter = leave = None
    for low, high, start, slope in zip(box.low, box.high, origin, inverse, strict=True):
        a, b = (np.float32(low) - start) * slope, (np.float32(high) - start) * slope
        near, far = np.minimum(a, b), np.maximum(a, b)
        enter = near if enter is None else np.maximum(enter, near)
        leave = far if leave is None else np.minimum(leave, far)
    assert enter is not None and leave is not None
    return enter, leave


def inverse_of(direction: Floats) -> Floats:
    """One over each component, (rays, 3) to (3, rays); a ray along an axis gets a huge number, not infinity."""
    tiny = np.float32(1e-12)
    return 1 / np.where(np.abs(direction) < tiny, tiny, direction).T


def _hit_box(hits: Hits, box: Box, number: int, seen: NDArray[np.int64]) -> None:
    inverse = inverse_of(hits.direction[seen])
    enter, leave = passage(box, hits.origin[:, None], inverse)
    struck = (enter < leave) & (enter > 1e-3) & (enter < hits.distance[seen])
    at, inverse = seen[struck], inverse[:, struck]
    backward = inverse < 0  # such a ray enters through the high face
    plane = np.where(backward, np.asarray(box.high, np.float32)[:, None], np.asarray(box.low, np.float32)[:, None])
    axis = ((plane - hits.origin[:, None]) * inverse).argmax(axis=0)
    face = 2 * axis + np.take_along_axis(backward, axis[None], 0)[0]
    hits.distance[at] = enter[struck]
    hits.normal[at] = NORMALS[face]
    hits.surface[at] = FACES_AN_OBJECT * number + face


def _hit_ball(hits: Hits, ball: Ball, number: int, seen: NDArray[np.int64]) -> None:
    squash = np.array([1, 1 / ball.tall, 1], np.float32)
    d = hits.direction[seen] * squash
    o = (hits.origin - np.asarray(ball.center, np.float32)) * squash
    a, b, c = dot(d, d), d @ o, o @ o - ball.radius**2
    discriminant = b * b - a * c
    t = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    struck = (discriminant > 0) & (t > 1e-3) & (t < hits.distance[seen])
    at = seen[struck]
    hits.distance[at] = t[struck]
    normal = (o + d[struck] * t[struck, None]) * squash
    hits.normal[at] = normal / length(normal)[:, None]
    hits.surface[at] = FACES_AN_OBJECT * number
