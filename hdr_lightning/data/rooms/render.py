"""Pictures of rooms in linear light, by a ray caster in NumPy.

`cast` finds what each pixel meets first (2 x 2 samples a pixel), `shade` gives its colour, `light` the light on it.
"""

from dataclasses import dataclass

import numpy as np

from hdr_lightning.data.rooms.cast import SUPERSAMPLING, cast
from hdr_lightning.data.rooms.light import light
from hdr_lightning.data.rooms.materials import Floats
from hdr_lightning.data.rooms.scene import Room
from hdr_lightning.data.rooms.shade import shade
from hdr_lightning.image.color import REC709


@dataclass(frozen=True)
class Rendering:
    """A picture of a room in linear light.

    Attributes:
        radiance: (height, width, 3), linear RGB, 1 is the sky.
        irradiance: (height, width), luminance of the light that falls on what is seen.
        glass: (height, width), the share of each pixel that looks outside, in [0, 1].
        illuminant: linear RGB of the light on a white surface, a mean over the picture, of luminance 1.
    """

    radiance: Floats
    irradiance: Floats
    glass: Floats
    illuminant: Floats


def render(room: Room, height: int, width: int) -> Rendering:
    """Render a room.

    Args:
        room: what is there.
        height: rows of the picture.
        width: columns of the picture.
    """
    rows, columns = height * SUPERSAMPLING, width * SUPERSAMPLING
    hits = cast(room, rows, columns)
    reflectance, emission, glass = shade(room, hits)
    irradiance = light(room, hits, reflectance, rows, columns)
    radiance = reflectance * irradiance / np.float32(np.pi) + emission

    def pool(x: Floats) -> Floats:
        samples = x.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, *x.shape[1:])
        return np.add.reduce([samples[:, i, :, j] for i, j in np.ndindex(SUPERSAMPLING, SUPERSAMPLING)]) / np.float32(4)

    inside = (glass == 0) & (emission[:, 1] == 0)
    illuminant = irradiance[inside].mean(axis=0) + np.float32(1e-6)
    luminance = np.asarray(REC709, np.float32)
    # A sample far brighter than its neighbours (a lamp's rim) would leave a jagged edge: average what a film can hold.
    return Rendering(
        pool(np.minimum(radiance, 40.0)),
        pool(irradiance @ luminance + np.float32(1e-4)),
        pool(glass),
        illuminant / (illuminant @ luminance),
    )
