"""From radiance to pictures: the photo that a camera takes, and the edit that a professional makes of it."""

import numpy as np
import torch
from numpy.typing import NDArray

from hdr_lightning.data.rooms.materials import Floats
from hdr_lightning.data.rooms.render import Rendering
from hdr_lightning.image.color import REC709, encode_srgb

Bytes = NDArray[np.uint8]


def _luminance(radiance: Floats) -> Floats:
    return radiance @ np.asarray(REC709, np.float32) + np.float32(1e-5)


def _typical(luminance: Floats, weight: Floats) -> float:
    """Geometric mean, which is what an exposure is set for."""
    return float(np.exp((np.log(luminance) * weight).sum() / (weight.sum() + 1e-6)))


def _to_bytes(linear: Floats) -> Bytes:
    encoded: Floats = encode_srgb(torch.from_numpy(linear)).numpy()
    return (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)


def photograph(rendering: Rendering, rng: np.random.Generator) -> Bytes:
    """Expose once: an interior too dark, windows clipped, a colour cast, vignetting, noise, 8 bit.

    Args:
        rendering: the light.
        rng: decides exposure, cast, vignetting and noise.

    Returns:
        (height, width, 3), sRGB-encoded.
    """
    light = rendering.radiance
    height, width = light.shape[:2]
    key = np.exp(rng.uniform(np.log(0.012), np.log(0.22)))
    exposed = light * np.float32(key / _typical(_luminance(light), 1 - rendering.glass))
    warm, tint = rng.normal(0, 0.10), rng.normal(0, 0.03)
    exposed = exposed * np.exp(np.array([warm, tint, -warm]), dtype=np.float32)

    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    exposed = exposed / (1 + np.float32(rng.uniform(0.05, 0.35)) * (x * x + y * y)[..., None].astype(np.float32)) ** 2

    gain = rng.uniform(1, 12)  # as ISO rises, fewer electrons make the same signal
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    exposed = exposed + noise * np.sqrt(
        np.maximum(exposed, 0) * np.float32(4e-5 * gain) + np.float32((2e-4 * gain) ** 2)
    )
    contrast = np.float32(rng.uniform(1.0, 1.15))
    return _to_bytes(np.clip(exposed, 0, 1) ** contrast)


def edit(rendering: Rendering) -> Bytes:
    """Edit as for a listing: neutral white, interior lifted and evened, windows pulled down to show what is outside.

    Returns:
        (height, width, 3), sRGB-encoded.
    """
    neutral = rendering.radiance / rendering.illuminant ** np.float32(0.85)
    glass = rendering.glass
    luminance = _luminance(neutral)

    # Interior: differences of light are halved, those of material stay (a retoucher's brush knows what is a wall).
    light = np.log(rendering.irradiance)
    evened = np.log(luminance) - 0.5 * light
    lifted = np.exp(evened) * np.float32(0.36 / _typical(np.exp(evened), 1 - glass))
    # Windows: as if taken at an exposure of their own.
    pulled = luminance * np.float32(0.40 / _typical(luminance, glass)) if glass.any() else lifted
    wanted = np.exp(np.log(lifted) * (1 - glass) + np.log(pulled + np.float32(1e-5)) * glass)

    picture = neutral * (wanted / luminance)[..., None]
    gray = _luminance(picture)[..., None]
    picture = np.maximum(gray + (picture - gray) * np.float32(1.1), 0)
    curved = 1.06 * (1 - np.exp(-np.float32(1.35) * picture ** np.float32(1.25)))
    return _to_bytes(curved)
