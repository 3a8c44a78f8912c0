"""How a photo looks: local features that survive crops, scale, exposure and compression, and how two photos relate.

SIFT (Lowe, 2004) on the locally equalised picture, compared as RootSIFT (Arandjelovic and Zisserman, 2012). The mirror
image of a photo needs no second look: it permutes the bins of a descriptor.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.audit.photos import Pixels

POINTS = 500

COARSE, COARSE_SIZE = 150, 5.0
"""How many of the points, at least, are larger than this, in pixels: a smaller copy of the photo has only those."""

SMALLEST = 16
"""Shorter side, in pixels, below which a picture has no features."""

THUMB = 64
TOLERANCE = 3.0
"""How far, in pixels of the reduced picture, a matched point may lie from where the transform puts it."""


class Look(NamedTuple):
    """What is kept of a photo to compare it.

    Attributes:
        size: width and height of the reduced picture, in pixels.
        points: (n, 2), x and y of the features in the reduced picture.
        descriptors: (n, 128), RootSIFT times 255.
        thumb: (64, 64), luminance of the whole picture, squeezed to a square.
    """

    size: tuple[int, int]
    points: NDArray[np.float32]
    descriptors: Pixels
    thumb: Pixels


def look_at(small: Pixels) -> Look:
    """Find the features of a reduced picture, (height, width, 3)."""
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    points, raw = _features(cv2.createCLAHE(4.0, (8, 8)).apply(grey))
    roots = np.sqrt(raw / np.maximum(raw.sum(1, keepdims=True), 1e-6))
    thumb = cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    return Look((width, height), points, np.round(roots * 255).astype(np.uint8), np.asarray(thumb, np.uint8))


def _features(grey: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places, (n, 2), and SIFT descriptors, (n, 128), of the strongest features."""
    sift = cv2.SIFT_create(contrastThreshold=0.02)
    found = sorted(sift.detect(grey, None), key=lambda point: -point.response) if min(grey.shape) >= SMALLEST else []
    if not found:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    coarse = [point for point in found if point.size >= COARSE_SIZE]
    fine = [point for point in found if point.size < COARSE_SIZE]
    share = max(COARSE, POINTS - len(fine), sum(point.size >= COARSE_SIZE for point in found[:POINTS]))
    chosen, raw = sift.compute(grey, [*coarse[:share], *fine[: POINTS - min(share, len(coarse))]])
    return np.array([point.pt for point in chosen], np.float32), raw


def mirrored(look: Look) -> Look:
    """The look of the same photo seen in a mirror."""
    width = look.size[0]
    points = np.stack([width - 1 - look.points[:, 0], look.points[:, 1]], 1)
    # A mirror reverses the side of the patch across its main direction, and the sense of the angles.
    bins = look.descriptors.reshape(-1, 4, 4, 8)[:, ::-1][..., [0, 7, 6, 5, 4, 3, 2, 1]]
    return Look(
        look.size, points, np.ascontiguousarray(bins.reshape(-1, 128)), np.ascontiguousarray(look.thumb[:, ::-1])
    )


def matches(first: Look, second: Look, ratio: float = 0.85) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points that see the same: mutual nearest neighbours that are clearly nearer than the second nearest.

    Returns:
        Their places in both, (m, 2) each.
    """
    if min(len(first.points), len(second.points)) < 2:
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    similar = _unit(first.descriptors) @ _unit(second.descriptors).T
    rows = np.arange(len(similar))
    best = similar.argmax(1)
    mutual = similar.argmax(0)[best] == rows
    nearest = similar[rows, best]
    similar[rows, best] = -1
    clear = np.sqrt(np.maximum(2 - 2 * nearest, 0)) < ratio * np.sqrt(np.maximum(2 - 2 * similar.max(1), 0))
    chosen = mutual & clear
    return first.points[chosen], second.points[best[chosen]]


def _unit(descriptors: Pixels) -> NDArray[np.float32]:
    values = descriptors.astype(np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6), np.float32)


def correlation(first: Pixels, second: Pixels, inside: NDArray[np.bool_] | None = None) -> float:
    """Correlation of the details of two equally large pictures, -1 to 1: exposure and shading do not count.

    Args:
        first: luminance, (height, width).
        second: of the other.
        inside: where to look, (height, width); everywhere if nothing is given.
    """
    details = []
    for picture in (first, second):
        values = np.log1p(picture.astype(np.float32))
        detail = values - cv2.GaussianBlur(values, (0, 0), 4)
        detail = detail if inside is None else detail[inside]
        details.append(detail - detail.mean())
    norm = float(np.linalg.norm(details[0]) * np.linalg.norm(details[1]))
    return float((details[0] * details[1]).sum()) / norm if norm > 1e-6 else 0.0
