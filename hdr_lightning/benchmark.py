"""Time and memory of generators beside the published code, on the same weights and in the same process."""

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_lightning import generators
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator
from hdr_lightning.progress import track

Pass = Literal["forward", "step"]
Precision = Literal["fp32", "bf16"]

HEADER = (
    "| generator | pass | size | precision | threads | ours (s) | ours (CPU s) | published (s) | published (CPU s) "
    "| faster | max difference | kept (MiB) | published kept | share |"
)


class Timing(NamedTuple):
    """Median seconds of a call: of the clock, and of all threads of the process."""

    wall: float
    cpu: float


def benchmark(
    names: Sequence[str] = ("Restormer", "NAFNet", "DarkIR", "RetinexFormer"),
    passes: Sequence[Pass] = ("forward", "step"),
    precisions: Sequence[Precision] = ("fp32", "bf16"),
    threads: Sequence[int] = (1, 2),
    forward_size: int = 256,
    step_size: int = 128,
    batch: int = 1,
    repeats: int = 5,
    peers: dict[str, str] | None = None,
    output: Path | None = None,
) -> str:
    """Measure generators at their published size, alternating with the published code where that is installed.

    Ratios are of medians of the clock; above 1 ours is faster.

    Args:
        names: generators of this package.
        passes: a forward without gradients, a training step (forward, L1, backward), or both.
        precisions: of ours; the published code runs in fp32, and once more in bf16 beside ours in bf16.
        threads: numbers of threads to measure with.
        forward_size: height and width of the picture of a forward, in pixels.
        step_size: height and width of the pictures of a training step, in pixels.
        batch: pictures at once.
        repeats: timed calls of each, after one to warm up.
        peers: published classes by generator, `module:class`; without one, spandrel's where it is installed.
        output: a Markdown file to write the table to, case by case.

    Returns:
        The table, in Markdown.

    Raises:
        InputError: if there is no such generator, or a named peer cannot be imported.
    """
    unknown = set(names) - set(generators.__all__)
    if unknown:
        raise InputError(
            f"there is no generator {', '.join(sorted(unknown))}: there are {', '.join(generators.__all__)}"
        )
    cases = [
        (name, what, precision, count)
        for name in names
        for what in passes
        for precision in precisions
        for count in threads
    ]
    lines = [HEADER, "|" + "---|" * HEADER.count(" | ") + "---|"]
    before = torch.get_num_threads()
    try:
        for name, what, precision, count in track(cases, "measuring", len(cases), "case"):
            torch.set_num_threads(count)
            size = forward_size if what == "forward" else step_size
            lines += _compare(name, what, precision, count, size, batch, repeats, (peers or {}).get(name))
            if output is not None:
                output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    finally:
        torch.set_num_threads(before)
    table = "\n".join(lines)
    print(table)
    return table


def _compare(
    name: str, what: Pass, precision: Precision, threads: int, size: int, batch: int, repeats: int, peer: str | None
) -> list[str]:
    torch.manual_seed(0)
    ours: Generator = getattr(generators, name)().eval()
    with torch.no_grad():
        for parameter in ours.parameters():  # published starts hide half of a net behind zeros
            parameter.add_(0.02 * torch.randn_like(parameter))
    image = torch.rand(batch, 3, size, size)
    published = published_network(ours, peer)
    run = {"ours": _call(ours, image, what, precision)}
    if published is not None:
        run |= {"fp32": _call(published, image, what, "fp32")}
        if precision == "bf16":
            run |= {"bf16": _call(published, image, what, "bf16")}
    results = {key: call() for key, call in run.items()}  # also warms up
    kept = {key: kept_bytes(call) / 2**20 for key, call in run.items()} if what == "step" else {}
    times = alternate(run, repeats)
    start = (
        f"| {name} | {what} | {size} | {precision} | {threads} | {times['ours'].wall:.3f} | {times['ours'].cpu:.3f} |"
    )
    if published is None:
        return [f"{start} | | | | {kept.get('ours', 0):.0f} | | |"]
    return [
        f"{start} {times[key].wall:.3f} ({key}) | {times[key].cpu:.3f} | "
        f"**{times[key].wall / times['ours'].wall:.2f}x** | {(results['ours'] - results[key]).abs().max():.1e} | "
        + (f"{kept['ours']:.0f} | {kept[key]:.0f} | {kept['ours'] / kept[key]:.2f} |" if kept else "| | |")
        for key in run
        if key != "ours"
    ]


def published_network(generator: Generator, peer: str | None = None) -> nn.Module | None:
    """The published code with the weights of a generator: a class that is named, or what spandrel makes of the names.

    Returns:
        The network in evaluation mode, or nothing where it is not installed.
    """
    if peer is not None:
        module, _, name = peer.partition(":")
        try:
            network: nn.Module = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError) as error:
            raise InputError(f"the peer {peer} cannot be imported ({error}): expected module:class") from None
        network.load_state_dict(generator.state_dict())
        return network.eval()
    try:
        import spandrel
        import spandrel_extra_arches
    except ImportError:  # pip install 'hdr-lightning[benchmark]'
        return None
    spandrel_extra_arches.install(ignore_duplicates=True)
    try:
        loaded = spandrel.ModelLoader("cpu").load_from_state_dict(dict(generator.state_dict()))
    except spandrel.UnsupportedModelError:
        return None
    return loaded.model.eval()


def _call(network: nn.Module, image: Tensor, what: Pass, precision: Precision) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        mixed = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()
        with mixed:
            result: Tensor = network(image)
        return result.float()

    def infer() -> Tensor:
        with torch.inference_mode():
            return forward()

    def step() -> Tensor:
        network.zero_grad()
        result = forward()
        F.l1_loss(result, image.flip(-1)).backward()  # type: ignore[no-untyped-call]
        return result.detach()

    return infer if what == "forward" else step


def alternate(calls: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, Timing]:
    """Median times of calls that take turns, so that what else the machine does falls on all of them."""
    times: dict[str, list[Timing]] = {key: [] for key in calls}
    for _ in range(repeats):
        for key, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            times[key].append(Timing(time.perf_counter() - wall, time.process_time() - cpu))
    return {
        key: Timing(*(statistics.median(column) for column in zip(*each, strict=True))) for key, each in times.items()
    }


def kept_bytes(call: Callable[[], Tensor]) -> int:
    """Bytes that a call keeps for its gradients, each piece of memory once, parameters left out."""
    kept: dict[int, int] = {}
    backward = False

    def unpack(tensor: Tensor) -> Tensor:
        nonlocal backward
        backward = True
        return tensor

    def pack(tensor: Tensor) -> Tensor:
        if backward:  # what is computed again lives for a moment
            return tensor
        if not isinstance(tensor, nn.Parameter) and not isinstance(tensor._base, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = max(kept.get(storage.data_ptr(), 0), storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        call()
    return sum(kept.values())
