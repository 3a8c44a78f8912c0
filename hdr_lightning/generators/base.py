"""The contract of every network that turns a source photo into an edited one."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Generator(nn.Module, ABC):
    """A network from a source picture to an edited one of the same size.

    A generator is only a generator: no padding, clamping, loss, weight loading or printing inside.
    Parameter names follow the published layout, so that published weights load as they are.

    Attributes:
        in_channels: planes that `forward` takes: 3 for RGB, more where features are added to it.
        stride: height and width given to `forward` are multiples of it (`image.tiling.run_padded` sees to that).
    """

    in_channels: int = 3
    stride: int = 1

    @abstractmethod
    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Edit pictures.

        Args:
            image: `in_channels` planes, RGB first, sRGB-encoded, [0, 1]; height and width multiples of `stride`.

        Returns:
            RGB, sRGB-encoded, of the same height and width, not clamped to [0, 1].
        """
