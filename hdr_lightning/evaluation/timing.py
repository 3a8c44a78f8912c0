"""Times of calls that take turns, warmed up until they settle, on a CPU and on a GPU."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Call = Callable[[], Tensor]

Key = TypeVar("Key", bound=Hashable)

SETTLED = 0.1
"""Two times in a row that differ by less than this share are those of a warm machine."""

WARM_UPS = 5
"""Calls after which a machine that does not settle is taken as it is."""


class Timing(NamedTuple):
    """Seconds of a call: median and quartiles of the clock, and the median that all threads of the process spent.

    On a GPU the clock is that of its own events; the processor's seconds are those of starting the work.
    """

    median: float
    low: float
    high: float
    cpu: float


def alternate(calls: Mapping[Key, Call], repeats: int, device: torch.device) -> dict[Key, Timing]:
    """Time calls that take turns, so that what else the machine does falls on all of them.

    Each is called until its times settle, before the first turn.

    Args:
        calls: what to time, by name.
        repeats: timed turns.
        device: where the calls compute; those of a GPU are waited for.
    """
    for call in calls.values():
        _warm_up(call, device)
    times: dict[Key, list[tuple[float, float]]] = {key: [] for key in calls}
    for _ in range(repeats):
        for key, call in calls.items():
            times[key].append(_time(call, device))
    return {key: _summarise(each) for key, each in times.items()}


def _warm_up(call: Call, device: torch.device) -> None:
    before = _time(call, device)[0]
    for _ in range(WARM_UPS - 1):
        now = _time(call, device)[0]
        if abs(now - before) <= SETTLED * now:
            return
        before = now


def _time(call: Call, device: torch.device) -> tuple[float, float]:
    """Seconds of the clock, and of the processor."""
    if device.type == "cuda":
        return _time_on_gpu(call, device)
    synchronise(device)
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    synchronise(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _time_on_gpu(call: Call, device: torch.device) -> tuple[float, float]:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    stream = torch.cuda.current_stream(device)
    torch.cuda.synchronize(device)
    cpu = time.process_time()
    start.record(stream)
    call()
    end.record(stream)
    cpu = time.process_time() - cpu
    end.synchronize()
    return start.elapsed_time(end) / 1000, cpu


def synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _summarise(times: list[tuple[float, float]]) -> Timing:
    walls, cpus = zip(*times, strict=True)
    low, median, high = statistics.quantiles(walls, n=4, method="inclusive") if len(walls) > 1 else walls * 3
    return Timing(median, low, high, statistics.median(cpus))
