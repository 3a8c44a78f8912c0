"""Measure the audit on real photos: `python docs/audit_figures.py MANIFEST [EVERY]`, which takes some minutes.

The manifest has groups, one a scene. Copies of every `EVERY`th scene, changed in known ways, are to be found among all
scenes; pairs that are displaced by a known similarity are to be measured, under their own change of exposure; and pairs
whose source and target are exchanged are to be told.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hdr_lightning.data.audit.alignment import align
from hdr_lightning.data.audit.cache import FactCache
from hdr_lightning.data.audit.candidates import NEIGHBOURS, Vocabulary, nearest, vectors
from hdr_lightning.data.audit.examination import remembered
from hdr_lightning.data.audit.looks import Look, look_at
from hdr_lightning.data.audit.pairs import swapped
from hdr_lightning.data.audit.photos import Pixels, reduced
from hdr_lightning.data.audit.resemblance import resemblance
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import PairPaths, read_pairs

RNG = np.random.default_rng(0)


def crop(share: float) -> Callable[[Pixels], Pixels]:
    """A random crop of a share of the area."""

    def change(pixels: Pixels) -> Pixels:
        height, width = (round(length * share**0.5) for length in pixels.shape[:2])
        top, left = RNG.integers(0, np.array(pixels.shape[:2]) - (height, width) + 1)
        return pixels[top : top + height, left : left + width]

    return change


def scale(factor: float) -> Callable[[Pixels], Pixels]:
    """A smaller copy."""
    return lambda pixels: np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))


def jpeg(pixels: Pixels) -> Pixels:
    """JPEG of quality 60."""
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR))


def bright(factor: float) -> Callable[[Pixels], Pixels]:
    """Values times a factor, clipped."""
    return lambda pixels: np.clip(pixels * factor, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "crop to 80 % of the area": crop(0.8),
    "crop to 50 %": crop(0.5),
    "crop to 30 %": crop(0.3),
    "scale 1/2": scale(0.5),
    "scale 1/4": scale(0.25),
    "JPEG of quality 60": jpeg,
    "brightness +30 %": bright(1.3),
    "brightness -30 %": bright(0.7),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "mirrored, crop to 60 %, scale 0.6, -25 %, JPEG 60": lambda pixels: jpeg(
        bright(0.75)(scale(0.6)(crop(0.6)(pixels[:, ::-1])))
    ),
}


def candidates(looks: list[Look]) -> list[tuple[int, int, bool]]:
    """What the audit would compare, were every photo a group."""
    vocabulary = Vocabulary(looks[:400])
    described = [vectors(vocabulary, look) for look in looks]
    found: set[tuple[int, int, bool]] = set()
    for name, (count, floor) in NEIGHBOURS.items():
        straight, mirror = (np.stack([row[name][side] for row in described]) for side in (0, 1))
        found |= nearest(straight, mirror, np.arange(len(looks)), count, floor)
    return sorted(found)


def measure_duplicates(pairs: list[PairPaths], every: int) -> None:
    """Print recall a change, and whatever else is called nearly the same."""
    names = [pair.group for pair in pairs]
    looks = [look_at(reduced(read_photo(pair.target).pixels)) for pair in pairs]
    chosen = range(0, len(pairs), every)
    others: set[tuple[str, str]] = set()
    print(f"{len(chosen)} copies among {len(looks)} scenes:    recall (candidates)")
    for title, change in CHANGES.items():
        copies = [look_at(reduced(change(read_photo(pairs[n].target).pixels))) for n in chosen]
        everything, origin = [*looks, *copies], [*range(len(pairs)), *chosen]
        compared, hits = set(), set()
        for i, j, mirror in candidates(everything):
            likeness = resemblance(everything[i], everything[j], mirror)
            if origin[i] == origin[j]:
                compared.add(origin[i])
            if likeness is None or likeness.kind != "near-duplicate":
                continue
            if origin[i] == origin[j]:
                hits.add(origin[i])
            else:
                first, second = sorted((names[origin[i]], names[origin[j]]))
                others.add((first, second))
        print(f"  {title:<52} {len(hits) / len(chosen):.3f} ({len(compared) / len(chosen):.3f})", flush=True)
    print(f"scenes called nearly the same, over all runs: {sorted(others)}")


def similarity(width: int, height: int) -> NDArray[np.float64]:
    """A random similarity about the centre: up to 25 px, 3 %, 2 degrees."""
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), RNG.uniform(-2, 2), RNG.uniform(0.97, 1.03))
    matrix[:, 2] += RNG.uniform(-25, 25, 2)
    return np.asarray(matrix)


def measure_alignment(pairs: list[PairPaths]) -> None:
    """Print the error of the displacement, in pixels of the photo, against what was planted."""
    errors, real, none = [], [], 0
    for pair in pairs:
        source, target = read_photo(pair.source).pixels, read_photo(pair.target).pixels
        height, width = source.shape[:2]
        planted = similarity(width, height)
        moved = cv2.warpAffine(target, planted, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        before = look_at(reduced(source))
        ours, own = (align(before, look_at(reduced(np.asarray(after))), width) for after in (moved, target))
        if ours is None or own is None:
            none += 1
            continue
        real.append(own.displacement)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = planted[:, :2] @ centre + planted[:, 2] - centre
        angle = np.degrees(np.arctan2(planted[1, 0], planted[0, 0]))
        factor = np.sqrt(np.linalg.det(planted[:, :2]))
        shifted = np.hypot(ours.dx - shift[0], ours.dy - shift[1])
        errors.append((shifted, abs(ours.scale - factor), abs(ours.angle - angle)))
    print(f"{len(pairs)} displaced pairs, {none} not told; median, 95 %, largest:")
    for name, column in zip(("shift, px", "scale", "angle, degrees"), np.array(errors).T, strict=True):
        print(f"  error of {name:<16}", *(f"{value:.4f}" for value in np.percentile(column, [50, 95, 100])))
    print("  as they are, px         ", *(f"{value:.4f}" for value in np.percentile(real, [50, 95, 100])))


def measure_swapped(pairs: list[PairPaths], share: float, times: int = 10) -> None:
    """Print how many of the pairs that are swapped at random are found."""
    cache = FactCache([pair.source.parent for pair in pairs])
    examined = [remembered(pair, "training", cache) for pair in pairs]
    cache.save()
    planted = found = false = 0
    for _ in range(times):
        chosen = RNG.random(len(pairs)) < share
        rows = [
            (dataclasses.replace(one, source=one.target, target=one.source) if swap else one)
            for one, swap in zip(examined, chosen, strict=True)
        ]
        told = {finding.pairs[0] for finding in swapped(rows)}
        right = {pair for pair, swap in zip(pairs, chosen, strict=True) if swap}
        planted, found, false = planted + len(right), found + len(told & right), false + len(told - right)
    print(
        f"swapped, {share:.0%} of {len(pairs)} pairs, {times} times: {found} of {planted} found, {false} false alarms"
    )


if __name__ == "__main__":
    every_pair = read_pairs(Path(sys.argv[1]))
    step = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    measure_duplicates(list({pair.group: pair for pair in every_pair}.values()), step)
    measure_alignment(every_pair[::step])
    for share in (0.02, 0.1):
        measure_swapped(every_pair, share)
