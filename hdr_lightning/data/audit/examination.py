"""Opening the photos of pairs: facts of each, and for a whole audit how the two of a pair relate and look."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hdr_lightning.data.audit.alignment import Alignment, align, unrelated
from hdr_lightning.data.audit.cache import FactCache
from hdr_lightning.data.audit.looks import Look, look_at
from hdr_lightning.data.audit.photos import PhotoFacts, Pixels, examine
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Examined:
    """A pair whose photos were opened.

    Attributes:
        pair: which.
        part: of the split, such as "training".
        source, target: facts, or nothing if a photo cannot be read.
        problem: why, or empty.
        alignment: of the two photos where it was looked for and found.
        unrelated: whether they were found to show different things.
    """

    pair: PairPaths
    part: str
    source: PhotoFacts | None = None
    target: PhotoFacts | None = None
    problem: str = ""
    alignment: Alignment | None = None
    unrelated: bool = False


def remembered(pair: PairPaths, part: str, cache: FactCache) -> Examined:
    """Examine a pair, opening only photos that the cache does not know."""
    try:
        return Examined(pair, part, _facts(pair.source, cache), _facts(pair.target, cache))
    except InputError as error:
        return Examined(pair, part, problem=str(error))


def _facts(path: Path, cache: FactCache) -> PhotoFacts:
    known = cache.get(path)
    if known is None:
        known, _ = examine(path)
        cache.put(path, known)
    return known


def compared(pair: PairPaths, part: str, cache: FactCache) -> tuple[Examined, Look | None]:
    """Examine a pair and compare its photos.

    Returns:
        What was found, and the look of the target, or nothing if it cannot be read.
    """
    try:
        (source, small_source), (target, small_target) = _open(pair.source, cache), _open(pair.target, cache)
    except InputError as error:
        return Examined(pair, part, problem=str(error)), None
    look = look_at(small_target)
    if (source.width, source.height) != (target.width, target.height) or source.digest == target.digest:
        return Examined(pair, part, source, target), look
    other = look_at(small_source)
    alignment = align(other, look, source.width)
    strange = alignment is None and unrelated(other, look)
    return Examined(pair, part, source, target, "", alignment, strange), look


def _open(path: Path, cache: FactCache) -> tuple[PhotoFacts, Pixels]:
    facts, small = examine(path)
    cache.put(path, facts)
    return facts, small


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Do work in threads, in order, with few results waiting: what is not fetched yet is not begun."""
    threads = os.cpu_count() or 1
    rest = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[Result]] = [pool.submit(work, item) for item in islice(rest, 2 * threads)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(work, item) for item in islice(rest, 1)]
