"""Arithmetic and traffic of generators beside the published code: what a device without fusion must compute and carry.

python docs/traffic_figures.py     # with the extra `benchmark`
"""

import torch
from feeding_figures import Count
from torch import nn

from hdr_lightning import generators
from hdr_lightning.benchmark import published_network


def row(network: nn.Module, size: int, training: bool) -> tuple[float, float]:
    """Gigabytes and GFLOP of a forward pass, or of a training step, in float32; on tensors without content.

    The backward pass counts as two forward passes: torch's formula for it miscounts convolutions in groups.
    """
    picture = torch.empty(1, 3, size, size, device="meta")
    with Count() as count, torch.set_grad_enabled(training):
        result = network(picture)
        flops = count.flops * (3 if training else 1)
        if training:
            (result - picture).abs().mean().backward()
    return count.moved / 1e9, flops / 1e9


def main() -> None:
    """Print the table."""
    print("| generator | pass | GB, published | GB, ours | GFLOP, published | GFLOP, ours |\n|---|---|---|---|---|---|")
    for name in ("Restormer", "NAFNet", "RetinexFormer"):
        ours = getattr(generators, name)()
        published = published_network(ours)
        assert published is not None, "pip install 'hdr-lightning[benchmark]'"
        for what, size, training in (("forward 256 px", 256, False), ("step 128 px", 128, True)):
            (theirs, their_flops), (own, own_flops) = (
                row(each.to("meta"), size, training) for each in (published, ours)
            )
            print(f"| {name} | {what} | {theirs:.1f} | {own:.1f} | {their_flops:.0f} | {own_flops:.0f} |", flush=True)


if __name__ == "__main__":
    main()
