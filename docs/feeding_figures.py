"""How many H200s could 16 cores feed? An estimate: arithmetic and bytes of a training step, no GPU involved.

    python docs/feeding_figures.py --rates='{"whole photos": 12, "cached": 861}'

The rates are samples a CPU second of `hdr-lightning benchmark-data`.
"""

import torch
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from hdr_lightning.generators import NAFNet, Restormer

PEAK = 989e12  # dense bf16, of the data sheet
EFFICIENCY = 0.5  # of the peak, above what training of such networks reaches
BANDWIDTH = 4.3e12  # bytes a second, as a copy was measured to reach
CORES = 16


class Count(TorchDispatchMode):
    """Counts FLOPs, and the bytes that operators read and write, each tensor once an operator; views move nothing."""

    flops = 0
    moved = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        leaves = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        if not (func.is_view or any(free in func.name() for free in ("empty", "_unsafe_view"))):
            self.moved += sum(leaf.numel() * leaf.element_size() for leaf in leaves)
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def step(network: nn.Module, size: int, batch: int) -> tuple[float, float]:
    """FLOPs and bytes of forward, L1 and backward in bf16, a sample; on tensors without content.

    The backward pass counts as two forward passes: torch's formula for it miscounts convolutions in groups.
    """
    network = network.to("meta", torch.bfloat16).train()
    source, target = torch.empty(2, batch, 3, size, size, device="meta", dtype=torch.bfloat16)
    with Count() as count:
        loss = nn.functional.l1_loss(network(source), target)
        flops = 3 * count.flops
        loss.backward()
    return flops / batch, count.moved / batch


def number(value: float) -> str:
    """Two figures."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def main(rates: dict[str, float], size: int = 384, batch: int = 8) -> None:
    """Print the table.

    Args:
        rates: training samples a CPU second, by way of reading.
        size: of the crop in pixels.
        batch: samples a step.
    """
    print(f"| generator | TFLOP | GB | at least (ms) | as separate operators (ms) | {' | '.join(rates)} |")
    print("|---|---|---|---|---|" + "---|" * len(rates))
    for name, network in (("NAFNet-32", NAFNet(width=32)), ("Restormer", Restormer())):
        flops, moved = step(network, size, batch)
        least, eager = flops / (PEAK * EFFICIENCY), max(flops / (PEAK * EFFICIENCY), moved / BANDWIDTH)
        fed = " | ".join(f"{number(CORES * rate * least)} to {number(CORES * rate * eager)}" for rate in rates.values())
        print(f"| {name} | {flops / 1e12:.2f} | {moved / 1e9:.1f} | {1e3 * least:.2f} | {1e3 * eager:.2f} | {fed} |")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
