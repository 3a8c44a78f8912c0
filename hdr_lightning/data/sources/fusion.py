"""One well exposed picture of several exposures: aligned, then fused."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16
from numpy.typing import NDArray

from hdr_lightning.data.sources.degradations import Pixels
from hdr_lightning.errors import InputError

COARSE = 512
"""Longest side in pixels at which all shifts are compared; finer levels look one pixel around."""

CLEAR_PEAK = 7.0
"""Standard deviations by which the best shift stands out, at least. Photographed brackets gave 9.5 to 73, rendered ones
of +-3 and +-5 stops 6.9 to 38; pairs of different scenes 3.2 to 12.7, half of them below 6.3."""


Cropped = (
    UInt8[np.ndarray, "rows columns 3"] | UInt16[np.ndarray, "rows columns 3"] | Float32[np.ndarray, "rows columns 3"]
)


def fuse(exposures: Sequence[Pixels]) -> Pixels:
    """Fuse exposures that lie on each other (Mertens, Kautz, Van Reeth: "Exposure Fusion", 2007).

    OpenCV's implementation with all three weights of the paper: contrast, saturation and exposedness.

    Args:
        exposures: of one size, dtype and scene.

    Returns:
        The fusion, of their size and dtype.
    """
    dtype = exposures[0].dtype
    peak = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    scaled = [exposure.astype(np.float32) * np.float32(255 / peak) for exposure in exposures]
    fused = cv2.createMergeMertens(1.0, 1.0, 1.0).process(scaled)
    assert fused is not None
    clipped = np.clip(fused, 0, 1)
    return clipped if dtype == np.float32 else (clipped * np.float32(peak) + np.float32(0.5)).astype(dtype)


def align(exposures: Sequence[Pixels], reference: int) -> tuple[list[Cropped], list[tuple[int, int]]]:
    """Move exposures onto one of them by whole pixels, and crop all to what they share.

    Whole pixels keep every value as it was. Turns and changes of perspective are not undone.

    Args:
        exposures: of one size and scene.
        reference: which of them stays.

    Returns:
        The cropped exposures, and the shift of each: how many pixels its content lies right of and below the
        reference's.

    Raises:
        InputError: if no shift brings one onto the reference, or nothing is shared.
    """
    features = [_pyramid(exposure) for exposure in exposures]
    shifts = [(0, 0) if n == reference else _shift(features[reference], own) for n, own in enumerate(features)]
    height, width = exposures[0].shape[:2]
    left, right = (pick(0, *(-x for x, _ in shifts)) for pick in (max, min))
    top, bottom = (pick(0, *(-y for _, y in shifts)) for pick in (max, min))
    if right - left + width < 16 or bottom - top + height < 16:
        raise InputError(f"the exposures are shifted by {shifts} pixels and share no area")
    moved = [
        exposure[top + y : height + bottom + y, left + x : width + right + x]
        for exposure, (x, y) in zip(exposures, shifts, strict=True)
    ]
    return moved, shifts


Directions = Float32[np.ndarray, "_ _ 2"]
"""Direction of the gradient at each pixel, its length 1 at edges and 0 where the picture is flat or clipped."""


def _pyramid(exposure: Pixels) -> list[Directions]:
    """Directions of the gradient, which an exposure does not change; from full size to the coarsest level."""
    peak = 1.0 if exposure.dtype == np.float32 else float(np.iinfo(exposure.dtype).max)
    grey = cv2.cvtColor(exposure.astype(np.float32) / np.float32(peak), cv2.COLOR_RGB2GRAY)
    levels = [_directions(grey)]
    while max(grey.shape) > COARSE:
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
        levels.append(_directions(grey))
    return levels


def _directions(grey: NDArray[Any]) -> Directions:
    soft = cv2.GaussianBlur(grey, (0, 0), 1.0)
    gradient = np.stack([cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)], axis=-1)
    length = np.hypot(gradient[..., 0], gradient[..., 1]) + np.float32(8 / 255)  # noise has no direction
    return np.asarray(gradient / length[..., None], np.float32)


def _shift(reference: list[Directions], moved: list[Directions]) -> tuple[int, int]:
    """How many pixels a picture lies right of and below the reference, from coarse to fine."""
    x, y = _coarse_shift(reference[-1], moved[-1])
    for fixed, free in zip(reference[-2::-1], moved[-2::-1], strict=True):
        around = [(2 * x + dx, 2 * y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        x, y = max(around, key=lambda shift: _agreement(fixed, free, *shift))
    return x, y


def _coarse_shift(reference: Directions, moved: Directions) -> tuple[int, int]:
    """Compare all shifts at once (Fitch et al.: "Orientation Correlation", BMVC 2002)."""
    height, width = reference.shape[:2]
    window = np.outer(np.hanning(height), np.hanning(width))
    spectra = [np.fft.fft2((field[..., 0] + 1j * field[..., 1]) * window) for field in (reference, moved)]
    scores = np.fft.ifft2(spectra[0].conj() * spectra[1]).real
    if scores.max() - scores.mean() < CLEAR_PEAK * scores.std() or not scores.any():
        raise InputError("the exposures show no common edges: they are of different scenes, or black or white")
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    return int((x + width // 2) % width - width // 2), int((y + height // 2) % height - height // 2)


def _agreement(reference: Directions, moved: Directions, x: int, y: int) -> float:
    """Mean cosine of the directions where both pictures are, one moved."""
    height, width = reference.shape[:2]
    rows, columns = height - abs(y), width - abs(x)
    if rows <= 0 or columns <= 0:
        return -1.0
    fixed = reference[max(-y, 0) :, max(-x, 0) :][:rows, :columns]
    free = moved[max(y, 0) :, max(x, 0) :][:rows, :columns]
    return float(np.vdot(fixed, free)) / (rows * columns)
