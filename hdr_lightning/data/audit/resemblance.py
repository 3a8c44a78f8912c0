"""Whether two photos are nearly the same, or views of the same place: decided by structure, not by a hash."""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.audit.looks import THUMB, TOLERANCE, Look, correlation, matches, mirrored

SAME_PLACE = 12
"""Features that must agree on a plane or a turn of the camera; two unrelated photos reach 8."""

SAME_WHOLE = 0.8
"""Correlation of details from which on two whole pictures are the same."""

SAME_PART = 0.75
"""The same for a part that features have aligned."""

INSIDE = 0.85
"""Share of the smaller picture that lies inside the other, from which on it is a crop and not a view beside it."""


class Resemblance(NamedTuple):
    """How two photos are alike.

    Attributes:
        kind: of the finding.
        mirrored: whether the second is seen in a mirror.
        features: how many agree.
        correlation: of the aligned details, 0 to 1; 0 where nothing could be aligned.
    """

    kind: Literal["near-duplicate", "same-scene"]
    mirrored: bool
    features: int
    correlation: float


def resemblance(first: Look, second: Look, mirror: bool) -> Resemblance | None:
    """Compare two photos.

    Args:
        first: a photo.
        second: another.
        mirror: whether to look at the second in a mirror.

    Returns:
        How they are alike, or nothing if they are not.
    """
    second = mirrored(second) if mirror else second
    whole = correlation(first.thumb, second.thumb)
    places, others = matches(first, second)
    plane, agree = _plane(places, others)
    aligned = 0.0 if plane is None else _aligned(first, second, places[agree], others[agree])
    if whole >= SAME_WHOLE or aligned >= SAME_PART:
        return Resemblance("near-duplicate", mirror, int(agree.sum()), max(whole, aligned))
    if agree.sum() >= SAME_PLACE and not mirror:
        return Resemblance("same-scene", mirror, int(agree.sum()), max(aligned, 0.0))
    return None


def _plane(
    places: NDArray[np.float32], others: NDArray[np.float32]
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_]]:
    """The plane or turn of the camera that most matches agree on, and which they are."""
    nobody = np.zeros(len(places), bool)
    if len(places) < SAME_PLACE:
        return None, nobody
    homography, agree = cv2.findHomography(places, others, cv2.USAC_MAGSAC, TOLERANCE, maxIters=2000)
    if homography is None or agree is None:
        return None, nobody
    return np.asarray(homography, np.float64), agree.ravel().astype(bool)


def _aligned(first: Look, second: Look, places: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Correlation of details where the pictures overlap; 0 where neither lies inside the other."""
    if len(places) < SAME_PLACE:
        return 0.0
    inwards, outwards = np.array(first.size) / THUMB, np.array(second.size) / THUMB
    affine, _ = cv2.estimateAffine2D(
        ((places + 0.5) / inwards - 0.5), ((others + 0.5) / outwards - 0.5), ransacReprojThreshold=TOLERANCE / 8
    )
    if affine is None:
        return 0.0
    area = abs(float(np.linalg.det(affine[:, :2])))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if area > 1:  # the second shows less than the first: compare on the grid of the one that shows less
        affine = cv2.invertAffineTransform(affine)
        first, second = second, first
    seen = cv2.warpAffine(np.ones((THUMB, THUMB), np.uint8), affine, (THUMB, THUMB), flags=flags) > 0
    if seen.mean() < INSIDE:
        return 0.0
    return correlation(first.thumb, np.asarray(cv2.warpAffine(second.thumb, affine, (THUMB, THUMB), flags=flags)), seen)
