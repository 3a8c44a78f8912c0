"""Time and memory of generators side by side, and beside the published code, in turns and in one process."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_lightning.benchmark.kept import kept_bytes
from hdr_lightning.benchmark.networks import Measured, networks
from hdr_lightning.benchmark.rows import (
    Case,
    Code,
    Pass,
    Precision,
    Row,
    check_output,
    facts_of,
    to_markdown,
    write_rows,
)
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.cost import count_macs, count_parameters, has_weights, measure_peak
from hdr_lightning.evaluation.timing import alternate
from hdr_lightning.image.tiling import run_padded
from hdr_lightning.inference.enhancer import Device, choose_device
from hdr_lightning.progress import track

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

Key = tuple[str, Code, Precision]
"""Name of a network, whose code it is, and its precision."""


def benchmark(
    names: Sequence[str] = ("Restormer", "NAFNet", "DarkIR", "RetinexFormer"),
    passes: Sequence[Pass] = ("forward", "step"),
    precisions: Sequence[Precision] = ("fp32", "bf16"),
    threads: Sequence[int] = (1, 2),
    sizes: Sequence[int] = (256,),
    step_sizes: Sequence[int] = (128,),
    batches: Sequence[int] = (1,),
    devices: Sequence[Device] = ("cpu",),
    repeats: int = 5,
    peers: dict[str, str] | None = None,
    modules: Sequence[str] = (),
    output: Path | None = None,
) -> str:
    """Measure generators side by side, alternating with the published code where that is installed.

    Everything takes turns in one process, after each was called until its times settled. Times are medians with their
    quartiles; memory is that of tensors; ratios are of medians, and above 1 ours is faster.

    Args:
        names: generators at a published size (Restormer, NAFNet-32, NAFNet-64, DarkIR-m, DarkIR-l, RetinexFormer), or
            checkpoints, folders of runs, or exports.
        passes: a forward without gradients, a training step (forward, L1, backward), or both.
        precisions: of ours, fp16 on a GPU alone; the published code runs in fp32, and once more in that of ours.
        threads: numbers of threads to measure with; on a GPU only the first is used.
        sizes: heights and widths of the pictures of a forward, in pixels.
        step_sizes: heights and widths of the pictures of a training step, in pixels.
        batches: numbers of pictures at once.
        devices: where to measure: cpu, cuda, mps, or auto for a GPU if there is one.
        repeats: timed turns.
        peers: published classes by name, `module:class`; without one, spandrel's where it is installed.
        modules: Python modules to import first, for generators of your own in checkpoints.
        output: a Markdown (.md) or JSON (.json) file for the figures, with machine and versions, written case by case.

    Returns:
        The table, in Markdown.

    Raises:
        InputError: if there is no such generator, device or peer, or a network cannot do what is to be measured.
    """
    check_output(output)
    if repeats < 1:
        raise InputError(f"expected 1 repeat or more, got {repeats}")
    cases = _cases(passes, sizes, step_sizes, batches, devices, precisions, threads)
    found = networks(names, peers or {}, modules)
    _check_steps(found, passes)
    facts = facts_of([torch.device(case.device) for case in cases])
    rows: list[Row] = []
    before = torch.get_num_threads()
    try:
        for case in track(cases, "measuring", len(cases), "case"):
            torch.set_num_threads(case.threads)
            rows += _measure(found, case, repeats)
            if output is not None:
                write_rows(rows, facts, output)
    finally:
        torch.set_num_threads(before)
    table = to_markdown(rows)
    print(table)
    return table


def _cases(
    passes: Sequence[Pass],
    sizes: Sequence[int],
    step_sizes: Sequence[int],
    batches: Sequence[int],
    devices: Sequence[Device],
    precisions: Sequence[Precision],
    threads: Sequence[int],
) -> list[Case]:
    """What to measure, in order; the number of threads matters to a CPU alone."""
    cases = []
    for what in passes:
        for size, batch, name, precision in product(
            sizes if what == "forward" else step_sizes, batches, devices, precisions
        ):
            device = choose_device(name)
            counts = threads if device.type == "cpu" else threads[:1]
            if min(size, batch, *counts) < 1:
                raise InputError("expected sizes, batches and threads of 1 or more")
            if precision == "fp16" and device.type == "cpu":
                raise InputError("fp16 is for a GPU: take --precisions=[fp32,bf16] with --devices=[cpu]")
            cases += [Case(what, size, batch, device.type, precision, count) for count in counts]
    return cases


def _check_steps(found: Sequence[Measured], passes: Sequence[Pass]) -> None:
    for each in found:
        if "step" in passes and not any(p.requires_grad and p.numel() for p in each.ours.parameters()):
            raise InputError(f"{each.name} is an export, which cannot be trained: take --passes=[forward]")


def _measure(found: Sequence[Measured], case: Case, repeats: int) -> list[Row]:
    """All networks in one case, each published one below ours."""
    device = torch.device(case.device)
    running = {run.key: run for each in found for run in _runs(each, case, device)}
    results = {key: run.call().cpu() for key, run in running.items()}
    peaks = {key: measure_peak(run.call, run.network, device) for key, run in running.items()}
    kept = {key: kept_bytes(run.call) for key, run in running.items()} if case.what == "step" else {}
    times = alternate({key: run.call for key, run in running.items()}, repeats, device)
    rows = []
    for key, run in running.items():
        own: Key = (run.name, "ours", case.precision)
        theirs = run.code == "published"
        visible = has_weights(run.network)
        row = Row(
            generator=run.name,
            code=run.code,
            case=replace(case, precision=run.precision),
            parameters=count_parameters(run.network) if visible else None,
            macs=count_macs(run.network, run.shape, run.stride) if visible else None,
            time=times[key],
            peak_bytes=peaks[key] if visible else None,
            kept_bytes=kept.get(key),
            faster=times[key].median / times[own].median if theirs else None,
            difference=(results[own] - results[key]).abs().max().item() if theirs else None,
        )
        rows.append(row)
        run.network.zero_grad()
    return rows


@dataclass(frozen=True)
class Run:
    """A network that is about to be measured: whose code, in which precision, on which pictures."""

    name: str
    code: Code
    network: nn.Module
    precision: Precision
    stride: int
    shape: tuple[int, int, int, int]
    call: Callable[[], Tensor]

    @property
    def key(self) -> Key:
        """What tells it from the others."""
        return self.name, self.code, self.precision


def _runs(each: Measured, case: Case, device: torch.device) -> list[Run]:
    """Ours, and the published code in fp32 and in the precision of ours."""
    ours, theirs = each.ours, each.published
    variants: list[tuple[Code, nn.Module, Precision]] = [("ours", ours, case.precision)]
    if theirs is not None:
        variants += [("published", theirs, "fp32")]
        variants += [("published", theirs, case.precision)] if case.precision != "fp32" else []
    shape = (case.batch, ours.in_channels, case.size, case.size)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)
    return [
        Run(
            each.name,
            code,
            network,
            precision,
            ours.stride,
            shape,
            _call(network.to(device), image, case, precision, ours.stride),
        )
        for code, network, precision in variants
    ]


def _call(network: nn.Module, image: Tensor, case: Case, precision: Precision, stride: int) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        mixed = nullcontext() if precision == "fp32" else torch.autocast(image.device.type, DTYPES[precision])
        with mixed:
            return run_padded(network, image, stride).float()

    def infer() -> Tensor:
        with torch.inference_mode():
            return forward()

    def step() -> Tensor:
        network.zero_grad()
        result = forward()
        F.l1_loss(result, image[:, :3].flip(-1)).backward()  # type: ignore[no-untyped-call]
        return result.detach()

    return infer if case.what == "forward" else step
