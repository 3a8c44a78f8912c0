"""Progress of long work: a bar in a terminal or notebook, a line now and then in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")

LOG_SECONDS = 15.0


def watched_live() -> bool:
    """Tell whether output is seen as it moves (terminal, notebook) rather than kept (pipe, log file)."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def duration(seconds: float) -> str:
    """Write a duration as people say it.

    >>> duration(42.0), duration(75.0), duration(7325.0)
    ('42 s', '1 min 15 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def track(items: Iterable[T], description: str, total: int, unit: str = "photo") -> Iterator[T]:
    """Iterate and show how far it is, how fast and how much is left.

    Args:
        items: what to go through.
        description: what is being done, such as "rendering rooms".
        total: how many items there are.
        unit: what one item is.
    """
    if watched_live():
        yield from tqdm(items, desc=description, total=total, unit=f" {unit}s")
        return
    start = said = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if done == total or now - said >= LOG_SECONDS:
            speed = done / max(now - start, 1e-9)
            left = f", {duration((total - done) / speed)} left" if done < total else f" in {duration(now - start)}"
            print(f"{description}: {done}/{total} {unit}s, {speed:.3g}/s{left}", file=sys.stderr, flush=True)
            said = now
