"""What is wrong with a data set, found before training and told by name."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

SHOWN = 5


def check_pairs(pairs: Sequence[PairPaths], crop: int | None, degraded: bool = False) -> None:
    """Decode every photo once and refuse what training would stumble over.

    Args:
        pairs: pairs to be opened.
        crop: side of the training crop in pixels, or nothing where whole photos are used.
        degraded: whether sources are made of their targets on reading, so that both are one file.

    Raises:
        InputError: naming the photos that are missing, damaged, smaller than the crop or of another size than their
            partner; or if all targets equal their sources.
    """
    findings: list[str] = []
    equal: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda pair: _check(pair, crop), pairs)
        for pair, (finding, is_equal) in zip(pairs, track(results, "checking photos", len(pairs), "pair"), strict=True):
            findings += [finding] if finding else []
            equal += [pair.name] if is_equal else []
    if findings:
        more = f"\n  and {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
        shown = "\n  ".join(findings[:SHOWN])
        raise InputError(f"{len(findings)} of {len(pairs)} pairs cannot be used:\n  {shown}{more}")
    if degraded:
        return
    if len(equal) == len(pairs):
        raise InputError(
            f"in all {len(pairs)} pairs the target equals the source ({equal[0]}, ...): "
            'there is nothing to learn; check "src" and "tar" of the manifest'
        )
    if equal:
        warnings.warn(
            f"in {len(equal)} of {len(pairs)} pairs the target equals the source: {equal[:SHOWN]}", stacklevel=2
        )


def _check(pair: PairPaths, crop: int | None) -> tuple[str, bool]:
    """What is wrong with a pair, or nothing; and whether its two photos are equal."""
    try:
        source, target = read_photo(pair.source).pixels, read_photo(pair.target).pixels
    except InputError as error:
        return str(error), False
    (height, width), (other_height, other_width) = source.shape[:2], target.shape[:2]
    if (height, width) != (other_height, other_width):
        return (
            f"{pair.source} is {width} x {height} and its target {pair.target.name} {other_width} x {other_height}: "
            "give both the same size",
            False,
        )
    if crop is not None and min(height, width) < crop:
        return (
            f"{pair.source} is {width} x {height}, smaller than the crop of {crop}: "
            f"set data.crop to {min(height, width)} or less",
            False,
        )
    return "", bool(np.array_equal(source, target))
