"""What a training step keeps for its gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


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
