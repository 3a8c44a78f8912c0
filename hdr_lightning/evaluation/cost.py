"""What a network costs: parameters, operations, memory, time."""

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from hdr_lightning.evaluation.results import Cost
from hdr_lightning.evaluation.timing import alternate, synchronise
from hdr_lightning.generators import Generator
from hdr_lightning.image.tiling import run_padded
from hdr_lightning.ledger import Ledger, without_memory

REPEATS = 5
"""Timed passes of `measure_cost`."""

Shape = tuple[int, ...]


def measure_cost(generator: Generator, device: torch.device, size: tuple[int, int] = (512, 512)) -> Cost | None:
    """Measure what a network costs, of itself: a model of depth that it is guided by is not counted.

    Args:
        generator: in evaluation mode, on the device.
        device: where it runs.
        size: height and width in pixels of the picture.

    Returns:
        The cost; nothing where it cannot be counted: of ONNX, whose weights and operations are out of sight, and on a
        device that does not tell what it holds.
    """
    if not has_weights(generator) or device.type not in ("cpu", "cuda"):
        return None
    height, width = size
    image = torch.rand(1, generator.in_channels, height, width, generator=torch.Generator().manual_seed(0)).to(device)

    def infer() -> Tensor:
        with torch.inference_mode():
            return run_padded(generator, image, generator.stride)

    seconds = alternate({"infer": infer}, REPEATS, device)["infer"].median
    peak = measure_peak(infer, generator, device)
    assert peak is not None
    return Cost(
        parameters=count_parameters(generator),
        macs=count_macs(generator, (1, generator.in_channels, height, width), generator.stride),
        seconds=seconds,
        peak_bytes=peak,
        size=size,
        device=device_name(device),
    )


def sum_costs(costs: Sequence[Cost], passes: int = 1) -> Cost:
    """The cost of a picture that is the average of several networks, each passed several times.

    Times and operations add up. One picture passes at a time, while the weights of all networks lie in memory.

    Args:
        costs: of a pass of each network, at one size on one device.
        passes: through each, such as the eight of flips and quarter turns.
    """
    parameters = sum(each.parameters for each in costs)
    return replace(
        costs[0],
        parameters=parameters,
        macs=passes * sum(each.macs for each in costs),
        seconds=passes * sum(each.seconds for each in costs),
        peak_bytes=max(each.peak_bytes - 4 * each.parameters for each in costs) + 4 * parameters,
    )


def has_weights(network: nn.Module) -> bool:
    """Whether the weights of a network are tensors that can be counted; those of ONNX are not."""
    return count_parameters(network) > 0


def count_parameters(network: nn.Module) -> int:
    """How many numbers a network learned; what several of its modules share counts once."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, shape: tuple[int, int, int, int], stride: int = 1) -> int:
    """Count multiplications with addition of a pass over whole pictures, on shapes alone.

    Convolutions, matrix products and attention are counted as they are computed, and a Fourier transform of n real
    points as 5/4 n log2 n; what works on every value by itself (norms, gates, sums) is not, as is the custom.

    Args:
        network: in evaluation mode.
        shape: pictures, planes, height and width in pixels.
        stride: what the network wants height and width to be multiples of.
    """
    aten = torch.ops.aten
    transforms = {aten._fft_r2c: _transform_flops, aten._fft_c2r: _inverse_transform_flops}
    with torch.no_grad(), without_memory(), FlopCounterMode(display=False, custom_mapping=transforms) as counter:
        weights = {
            name: torch.empty_strided(each.shape, each.stride(), dtype=each.dtype)
            for name, each in (*network.named_parameters(), *network.named_buffers())
        }

        def call(image: Float[Tensor, "n c h w"]) -> Tensor:
            result: Tensor = functional_call(network, weights, (image,))
            return result

        run_padded(call, torch.empty(shape), stride)
    return round(counter.get_total_flops() / 2)


def _transform_flops(shape: Shape, dim: list[int], *_: Any, **__: Any) -> float:
    points = math.prod(shape[axis] for axis in dim)
    return 2.5 * math.prod(shape) * math.log2(points)


def _inverse_transform_flops(_: Shape, dim: list[int], *__: Any, out_shape: Shape, **___: Any) -> float:
    return _transform_flops(out_shape, dim)


def measure_peak(call: Callable[[], Tensor], network: nn.Module, device: torch.device) -> int | None:
    """The largest memory that tensors occupy during a call, the network's weights among them.

    On a CPU every tensor is counted; on a GPU its allocator is asked, and what other things occupy is taken off. What
    libraries borrow for themselves is in neither. Nothing where the device does not tell.

    Args:
        call: what to measure.
        network: whose weights count.
        device: where it is.
    """
    weights = [*network.parameters(), *network.buffers()]
    own = sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in weights}.values())
    if device.type == "cuda":
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before + own
    if device.type != "cpu":
        return None
    ledger = Ledger()
    for each in weights:
        ledger.count(each, "weights")
    with ledger:
        call()
    return max((sum(moment.values()) for moment in ledger.peaks.values()), default=own)


def device_name(device: torch.device) -> str:
    """A device in words: its model, and the threads of a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'s' * (threads > 1)}" if device.type == "cpu" else device.type


def processor_name() -> str:
    """The model of this machine's processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()  # `platform` does not look there
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
