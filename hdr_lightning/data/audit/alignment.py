"""How far source and target of a pair are shifted, scaled and turned against each other, whatever their exposure."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.audit.looks import TOLERANCE, Look, correlation, matches, mirrored

ENOUGH = 12
"""Features that must agree before an alignment is believed."""

MANY = 100
"""Features of both photos from which on it means something that none agree."""

NOISE = 0.4
"""Displacement, in pixels of the reduced picture, below which an estimate may be its own error."""


class Alignment(NamedTuple):
    """The similarity that takes a pixel of the source to its place in the target.

    Attributes:
        dx, dy: shift of the centre in pixels of the photo, to the right and downwards.
        scale: of lengths.
        angle: in degrees, clockwise.
        displacement: root mean square over the frame, in pixels of the photo.
        noise: what of it may be error of the estimate, in pixels of the photo.
        features: how many agree.
        mirror: whether the target is a mirror image.
    """

    dx: float
    dy: float
    scale: float
    angle: float
    displacement: float
    noise: float
    features: int
    mirror: bool


def align(source: Look, target: Look, width: int) -> Alignment | None:
    """Estimate the alignment of a pair.

    Args:
        source: look of the unedited photo.
        target: look of the edited one, of equal size.
        width: of the photos, in pixels.

    Returns:
        Their alignment, or nothing where too few features agree.
    """
    for mirror in (False, True):
        places, others = matches(source, mirrored(target) if mirror else target)
        if len(places) < ENOUGH:
            continue
        matrix, agree = cv2.estimateAffinePartial2D(
            places, others, ransacReprojThreshold=TOLERANCE * 2 / 3, maxIters=5000, refineIters=20
        )
        if matrix is not None and agree.sum() >= ENOUGH:
            return _described(np.asarray(matrix, np.float64), source.size, width, int(agree.sum()), mirror)
    return None


def _described(
    matrix: NDArray[np.float64], size: tuple[int, int], width: int, features: int, mirror: bool
) -> Alignment:
    factor = width / size[0]
    across, down = (np.linspace(0, length - 1, 9) for length in size)
    frame = np.stack(np.meshgrid(across, down), -1).reshape(-1, 2)
    moved = (frame @ matrix[:, :2].T + matrix[:, 2] - frame) * factor
    dx, dy = moved.mean(0)
    return Alignment(
        round(float(dx), 2),
        round(float(dy), 2),
        round(float(np.sqrt(np.linalg.det(matrix[:, :2]))), 5),
        round(float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))), 3),
        round(float(np.sqrt((moved**2).sum(1).mean())), 2),
        round(NOISE * factor, 2),
        features,
        mirror,
    )


def unrelated(source: Look, target: Look) -> bool:
    """Tell whether two photos that could not be aligned have details enough to say that they show different things."""
    rich = min(len(source.points), len(target.points)) >= MANY
    return rich and correlation(source.thumb, target.thumb) < 0.2
