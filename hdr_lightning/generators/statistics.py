"""What blocks sum up over a picture, kept for its tiles: each is then worked on as a part of the whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Sums = tuple[tuple[Tensor, ...], Any]
"""Sums over pixels, and over how many."""


@dataclass
class Statistics:
    """Sums of every call of a block, in the order of the calls."""

    calls: list[Sums] = field(default_factory=list)


@dataclass
class _Pass:
    """A pass of a network that writes statistics, or is given them."""

    statistics: Statistics
    given: bool
    call: int = 0


_pass: ContextVar[_Pass | None] = ContextVar("pass", default=None)


@contextmanager
def recording() -> Iterator[Statistics]:
    """Write down what the blocks of a network sum up over a picture, for one pass of one picture."""
    statistics = Statistics()
    token = _pass.set(_Pass(statistics, given=False))
    try:
        yield statistics
    finally:
        _pass.reset(token)


@contextmanager
def given(statistics: Statistics) -> Iterator[None]:
    """Let the blocks of a network take these sums instead of those of what they see, for one pass of one picture."""
    token = _pass.set(_Pass(statistics, given=True))
    try:
        yield
    finally:
        _pass.reset(token)


def shared(sums: tuple[Tensor, ...], pixels: Any) -> Sums:
    """The sums that a block is to take: its own unless it is given others."""
    if torch.compiler.is_compiling():
        return sums, pixels
    now = _pass.get()
    if now is None:
        return sums, pixels
    if not now.given:
        now.statistics.calls.append((sums, pixels))
        return sums, pixels
    now.call += 1
    return now.statistics.calls[now.call - 1]
