"""What stands in a room: a random but plausible interior, described in metres and linear light.

Axes: x to the right, y up, z away from the camera. The room is the box from (0, 0, 0) to `Room.size`.
"""

from dataclasses import dataclass, field

from hdr_lightning.data.rooms.materials import Material

Point = tuple[float, float, float]
Color = tuple[float, float, float]

LEFT, RIGHT, FLOOR, CEILING, BACK, FRONT = range(6)
"""Faces of the room and of every box: x low, x high, y low, y high, z low, z high."""


WHITE = Material("paint", ((0.82, 0.82, 0.80),))


@dataclass(frozen=True)
class Box:
    """An axis-aligned box; `front` covers the face that looks into the room where it differs."""

    low: Point
    high: Point
    material: Material
    front: Material | None = None
    casts: bool = True


@dataclass(frozen=True)
class Ball:
    """An ellipsoid standing upright; with `glow` it is a lamp of that radiance."""

    center: Point
    radius: float
    material: Material
    tall: float = 1.0
    glow: Color | None = None


@dataclass(frozen=True)
class Patch:
    """A rectangle on a face of the room, in that face's coordinates: z, y on the sides; x, z flat; x, y in front."""

    face: int
    low: tuple[float, float]
    high: tuple[float, float]
    material: Material


@dataclass(frozen=True)
class Window:
    """A glazed rectangle on a wall; `panes` are its columns and rows."""

    face: int
    low: tuple[float, float]
    high: tuple[float, float]
    panes: tuple[int, int]


@dataclass(frozen=True)
class Lamp:
    """A small light: intensity in units of the sky's radiance times square metres."""

    position: Point
    intensity: Color


@dataclass(frozen=True)
class Outdoors:
    """What lies behind the windows. `glare` is how much brighter it looks than the light it sends in explains."""

    seed: int
    glare: float
    clouds: float
    skyline: float
    sky: Color
    sun: Point | None
    """Direction to the sun, or nothing under cloud."""


@dataclass(frozen=True)
class Camera:
    """A wide-angle camera with straight verticals. Angles in radians; `shift` moves the horizon, in half pictures."""

    position: Point
    yaw: float
    tangent: float
    shift: float


@dataclass
class Room:
    """Everything that light meets."""

    size: Point
    faces: list[Material]
    outdoors: Outdoors
    camera: Camera
    windows: list[Window] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    balls: list[Ball] = field(default_factory=list)
    lamps: list[Lamp] = field(default_factory=list)
