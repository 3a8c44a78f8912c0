"""What a network costs: parameters, operations, memory, time."""

import torch

from hdr_lightning.evaluation.results import Cost
from hdr_lightning.generators import Generator


def measure_cost(generator: Generator, device: torch.device, size: tuple[int, int] = (512, 512)) -> Cost:
    """Measure what a network costs.

    Args:
        generator: in evaluation mode, on the device.
        device: where it runs.
        size: height and width in pixels of the picture.
    """
    raise NotImplementedError
