"""Extra planes for a generator, computed from the source photo."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from kornia.filters import sobel
from torch import Tensor

from hdr_lightning.image.color import luminance, saturation
from hdr_lightning.image.types import Image, Plane

Feature = Literal["depth", "edge", "saturation"]


def edges(image: Image) -> Plane:
    """Length of the Sobel gradient of the luminance, in [0, 1] and usually far below."""
    return sobel(luminance(image))


def depth_proxy(image: Image) -> Plane:
    """A stand-in for depth, the luminance: in an interior the windows are both far and bright. In [0, 1]."""
    return luminance(image)


PLANES: dict[Feature, Callable[[Image], Plane]] = {
    "depth": depth_proxy,
    "edge": edges,
    "saturation": saturation,
}


def extract(image: Float[Tensor, "n c h w"], features: Sequence[Feature]) -> Float[Tensor, "n f h w"]:
    """Compute a plane for each feature, in float32 and without gradients: they describe the source.

    Args:
        image: RGB, and behind it the depth where that of a model is given (`depth.DepthModel`).
        features: which, in their order.
    """
    rgb, depth = image[:, :3].float(), image[:, 3:]
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        planes = [depth if name == "depth" and depth.shape[1] else PLANES[name](rgb) for name in features]
        return torch.cat(planes, dim=1).to(image.dtype)
