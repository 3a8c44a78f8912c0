"""LPIPS of photos of any size, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.losses.perceptual import LPIPS_NETWORKS, lpips_network

LPIPSNetwork = Literal["alex", "vgg", "squeeze"]

STRIDES = {"alex": (4, 8, 16, 16, 16), "vgg": (1, 2, 4, 8, 16), "squeeze": (2, 4, 8, 16, 16, 16, 16)}
"""Pixels between two features of each layer that is compared."""

TILE = 768
"""Side of what is compared at once, in pixels; a multiple of 16."""

MARGIN = 128
"""Pixels around a tile that its features see: the widest see 119, and it is a multiple of the strides."""

Picture = Float[Tensor, "1 3 h w"]


class PerceptualDistance:
    """Learned perceptual similarity (Zhang et al., CVPR 2018), v0.1, in tiles with the value of the whole picture.

    A distance is a mean over the features of each layer, so it is the sum over tiles, each of which sees as much of its
    surroundings as its features do, over their number.

    Args:
        network: whose features; `alex` agrees best with people.
        weights: a file of that network by torchvision's names; if nothing is given, torchvision's.
        device: where to compute.

    Raises:
        InputError: if there are no weights, or the extra `perceptual` is missing.
    """

    def __init__(self, network: LPIPSNetwork, weights: Path | None, device: torch.device) -> None:
        self.strides = STRIDES[network]
        _, self.least = LPIPS_NETWORKS[network]
        self.net = lpips_network(network, weights).to(device)

    @torch.inference_mode()
    def __call__(self, prediction: Picture, target: Picture) -> float | None:
        """Compare a picture with its target.

        Args:
            prediction: on the device.
            target: on the device.

        Returns:
            The distance: 0.1 to 0.5 on photos, 0 at best; nothing for pictures smaller than the features take.
        """
        height, width = target.shape[-2:]
        if min(height, width) < self.least:
            return None
        sums, counts = [0.0] * len(self.strides), [0] * len(self.strides)
        for rows, top in _cores(height):
            for columns, left in _cores(width):
                window = (..., slice(top, rows.stop + MARGIN), slice(left, columns.stop + MARGIN))
                maps = self._maps(prediction[window], target[window])
                for layer, (values, stride) in enumerate(zip(maps, self.strides, strict=True)):
                    core = values[..., _scaled(rows, top, stride, height), _scaled(columns, left, stride, width)]
                    sums[layer] += core.sum(dtype=torch.float32).item()
                    counts[layer] += core.numel()
        return sum(total / count for total, count in zip(sums, counts, strict=True))

    def _maps(self, prediction: Picture, target: Picture) -> Iterator[Float[Tensor, "1 1 _ _"]]:
        """Weighted squared differences of the features of each layer, each of unit length."""
        from lpips import normalize_tensor

        scaling, features = self.net.get_submodule("scaling_layer"), self.net.get_submodule("net")
        found, wanted = (features(scaling(2 * image - 1)) for image in (prediction, target))
        for layer, (one, other) in enumerate(zip(found, wanted, strict=True)):
            linear = self.net.get_submodule(f"lin{layer}")
            yield linear((normalize_tensor(one) - normalize_tensor(other)) ** 2)


def _cores(length: int) -> Iterator[tuple[slice, int]]:
    """Share a length out among tiles; where each tile begins, with its margin."""
    for start in range(0, length, TILE):
        yield slice(start, min(start + TILE, length)), max(start - MARGIN, 0)


def _scaled(core: slice, start: int, stride: int, length: int) -> slice:
    """The features of a core in the map of its tile; the last core has all that is left."""
    first = (core.start - start) // stride
    return slice(first, None if core.stop == length else (core.stop - start) // stride)
