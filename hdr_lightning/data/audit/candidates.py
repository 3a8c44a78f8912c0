"""Which photos of a large set are worth comparing: nearest neighbours of two short vectors a photo.

One vector aggregates the local features (VLAD; Jegou et al., 2010), which finds crops; the other is the picture in
16 x 16, which finds what has too little detail for features. All distances are matrix products, in blocks: the time
grows with the square of the number of photos, but at the speed of the hardware, and the memory with the number.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hdr_lightning.data.audit.looks import Look, mirrored

WORDS, AXES = 64, 16
"""Visual words, and principal axes of the residual to each."""

TINY = 16

NEIGHBOURS = {"features": (12, 0.0), "picture": (4, 0.8)}
"""How many of the nearest are compared, and from which cosine on, for each vector."""

BLOCK = 512

Vectors = NDArray[np.float16]


class Vocabulary:
    """Visual words of a data set: to what its local features have in common.

    Args:
        looks: a sample of its photos.
    """

    def __init__(self, looks: Sequence[Look]) -> None:
        sample = np.concatenate([look.descriptors for look in looks]).astype(np.float32) / 255
        sample = np.random.default_rng(0).permutation(sample)[:20_000]
        self.mean = sample.mean(0) if len(sample) else np.zeros(128, np.float32)
        few = len(sample) < WORDS
        axes = np.eye(128) if few else np.linalg.svd(sample - self.mean, full_matrices=False)[2]
        self.axes = np.asarray(axes[:AXES].T, np.float32)
        self.words = np.zeros((WORDS, AXES), np.float32)
        if not few:
            cv2.setRNGSeed(0)
            found = cv2.kmeans(self._project(sample), WORDS, None, (3, 20, 1e-4), 1, cv2.KMEANS_PP_CENTERS)
            self.words = found[2]

    def _project(self, descriptors: NDArray[np.floating]) -> NDArray[np.float32]:
        return np.asarray((descriptors - self.mean) @ self.axes, np.float32)

    def vector(self, look: Look) -> Vectors:
        """Aggregate the features of a photo to (1024,), of length 1, or 0 where it has none."""
        features = self._project(look.descriptors.astype(np.float32) / 255)
        word = (features @ self.words.T - 0.5 * (self.words**2).sum(1)).argmax(1)
        residuals = np.zeros((WORDS, AXES), np.float32)
        np.add.at(residuals, word, features - self.words[word])
        residuals /= np.maximum(np.linalg.norm(residuals, axis=1, keepdims=True), 1e-6)
        return _unit(residuals)


def tiny(look: Look) -> Vectors:
    """The picture itself in (256,), of mean 0 and length 1, with its contrast evened out."""
    values = cv2.resize(look.thumb, (TINY, TINY), interpolation=cv2.INTER_AREA).astype(np.float32)
    values -= values.mean()
    values = np.sign(values) * np.sqrt(np.abs(values))
    return _unit(values - values.mean())


def _unit(values: NDArray[np.float32]) -> Vectors:
    return np.asarray(values.ravel() / max(float(np.linalg.norm(values)), 1e-6), np.float16)


def vectors(vocabulary: Vocabulary, look: Look) -> dict[str, tuple[Vectors, Vectors]]:
    """Both vectors of a photo and of its mirror image."""
    other = mirrored(look)
    return {
        "features": (vocabulary.vector(look), vocabulary.vector(other)),
        "picture": (tiny(look), tiny(other)),
    }


def nearest(
    straight: Vectors, mirror: Vectors, groups: NDArray[np.int64], count: int, floor: float
) -> set[tuple[int, int, bool]]:
    """Find photos whose vectors point the same way.

    Args:
        straight: (n, d), a vector of length 1 a photo.
        mirror: (n, d), the vectors of their mirror images.
        groups: (n,); photos of one group are not compared.
        count: neighbours of each photo, at most.
        floor: smallest cosine.

    Returns:
        Pairs of rows, the smaller first, and whether one is seen in a mirror.
    """
    found: set[tuple[int, int, bool]] = set()
    every, group = torch.from_numpy(straight).float(), torch.from_numpy(groups)
    for flip, source in ((False, straight), (True, mirror)):
        for start in range(0, len(source), BLOCK):
            cosine = torch.from_numpy(source[start : start + BLOCK]).float() @ every.T
            cosine[group[start : start + BLOCK, None] == group] = -1
            best = cosine.topk(min(count, len(every)))
            rows, ranks = (best.values >= floor).nonzero(as_tuple=True)
            for row, column in zip((rows + start).tolist(), best.indices[rows, ranks].tolist(), strict=True):
                found.add((min(row, column), max(row, column), flip))
    return found
