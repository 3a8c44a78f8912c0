"""Layers that more than one generator uses."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call
from torch.nn import functional as F

from hdr_lightning.generators.tiles import FeatureMap


class ChannelNorm(nn.Module):
    """Normalise every pixel over its channels (layer norm of Ba et al., 2016, as restoration nets use it).

    The result lies in memory as channels_last, which is what the convolution behind it wants.

    Args:
        channels: number of channels.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        pixels = x.permute(0, 2, 3, 1)
        if x.is_cpu and x.dtype != self.weight.dtype and torch.is_grad_enabled():
            # PyTorch (2.15, CPU) sums the gradient of `bias` in bfloat16: 23 % off at 100,000 pixels.
            normed = F.layer_norm(pixels, self.weight.shape, eps=self.eps)
            normed = torch.addcmul(self.bias.to(x.dtype), normed, self.weight.to(x.dtype))
        else:
            normed = F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


def working_dtype(x: Tensor) -> torch.dtype:
    """The type in which autocast computes products with `x`, or its own."""
    device = x.device.type
    if x.is_meta:
        return x.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def matrix(conv: nn.Conv2d, x: Tensor) -> tuple[Float[Tensor, "o i"], Float[Tensor, " o"] | None]:
    """Weight and bias of a 1x1 convolution as those of a matrix product with `x`."""
    dtype = working_dtype(x)
    return conv.weight.flatten(1).to(dtype), None if conv.bias is None else conv.bias.to(dtype)


def _exporting() -> bool:
    """Whether a graph for any size is recorded; before torch 2.7 compiling cannot be told from it."""
    return bool(getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)())


def pointwise(x: FeatureMap, weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None = None) -> FeatureMap:
    """A 1x1 convolution of channels_last features, as the matrix product that it is."""
    if _exporting():  # ONNX Runtime is a quarter faster with it under its name
        return F.conv2d(x, weight[:, :, None, None], bias)
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


class _PointwiseAfter(torch.autograd.Function):
    """A 1x1 convolution of what a function makes of features; the function runs again for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Tensor], weight: Tensor, bias: Tensor | None, *inputs: Tensor
    ) -> Tensor:
        ctx.function = function
        ctx.biased = bias is not None
        device = weight.device.type
        # As in the forward pass: on a GPU, autocast is what lets a norm take features of less than float32.
        ctx.autocast = torch.autocast(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        ctx.save_for_backward(weight, *inputs)
        return pointwise(function(*inputs), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, *inputs = ctx.saved_tensors
        inputs = [
            each.detach().requires_grad_(needed) for each, needed in zip(inputs, ctx.needs_input_grad[3:], strict=True)
        ]
        with torch.enable_grad(), ctx.autocast:
            features = ctx.function(*inputs)
        outer = gradient.permute(0, 2, 3, 1)
        inner = torch.matmul(outer, weight).permute(0, 3, 1, 2).to(features.dtype)
        outer = outer.reshape(-1, weight.shape[0])
        of_weight = outer.t() @ features.detach().to(outer.dtype).permute(0, 2, 3, 1).reshape(-1, weight.shape[1])
        wanted = [each for each in inputs if each.requires_grad]
        history = get_gradient_edge(features) if wanted else None
        del features  # as large as anything that lives here, and its values are not needed for what follows
        found = iter(() if history is None else torch.autograd.grad(history, wanted, inner))
        return (
            None,
            of_weight,
            outer.sum(0) if ctx.biased else None,
            *(next(found) if each.requires_grad else None for each in inputs),
        )


def pointwise_after(
    function: nn.Module | Callable[..., FeatureMap], x: FeatureMap, weight: Tensor, bias: Tensor | None = None
) -> FeatureMap:
    """A 1x1 convolution of what a norm or a gate makes of features.

    Training keeps the features alone: what the function makes of them is cheap to compute again, and as large. It pays
    where features are many and pixels are more; on the small ones of NAFNet it costs a tenth of a step.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return pointwise(function(x), weight, bias)
    if not isinstance(function, nn.Module):
        return _PointwiseAfter.apply(function, weight, bias, x)
    names, parameters = zip(*function.named_parameters(), strict=True)

    def call(x: FeatureMap, *values: Tensor) -> FeatureMap:
        return functional_call(function, dict(zip(names, values, strict=True)), x)

    return _PointwiseAfter.apply(call, weight, bias, x, *parameters)


def depthwise(x: FeatureMap, weight: Float[Tensor, "c 1 3 3"], bias: Float[Tensor, " c"] | None = None) -> FeatureMap:
    """A 3x3 convolution of every channel for itself."""
    return F.conv2d(x, weight, bias, padding=1, groups=len(weight))


def add_scaled(x: FeatureMap, change: FeatureMap, scale: Float[Tensor, "1 c 1 1"]) -> FeatureMap:
    """Add a change, scaled by channel."""
    return torch.addcmul(x, change, scale.to(x.dtype))


def simple_gate(x: Float[Tensor, "n c2 h w"]) -> Float[Tensor, "n c h w"]:
    """Multiply the two halves of the channels (Chen et al., 2022, eq. 4)."""
    first, second = x.chunk(2, dim=1)
    return first * second


def local_mean(x: FeatureMap, window: int) -> FeatureMap:
    """Mean over the window around every pixel; at the border, over the nearest window that lies inside."""
    for dim in (-2, -1):
        length = x.shape[dim]
        side = min(window, length)
        sums = F.pad(x.float().movedim(dim, -1).cumsum(-1), (1, 0))
        means = (sums[..., side:] - sums[..., : length - side + 1]) / side
        lacking = side - 1
        nearest = torch.arange(length, device=x.device).sub(lacking // 2).clamp(0, length - side)
        x = means[..., nearest].movedim(-1, dim).to(x.dtype)
    return x


def dilated(conv: nn.Conv2d, x: FeatureMap) -> FeatureMap:
    """A depth-wise 3x3 convolution with gaps.

    On a CPU it is one without gaps over each phase of the grid: PyTorch's own backward is 3 to 10 times slower, and in
    bfloat16 with channels_last it crashes (2.15).
    """
    gap = conv.dilation[0]
    if gap == 1 or not x.is_cpu or _exporting():
        return conv(x)
    n, c, h, w = x.shape
    rows, columns = -(-h // gap), -(-w // gap)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, columns * gap - w, 0, rows * gap - h))
    phases = padded.reshape(n, rows, gap, columns, gap, c).permute(0, 2, 4, 1, 3, 5)
    seen = F.conv2d(
        phases.reshape(n * gap * gap, rows, columns, c).permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1, groups=c
    )
    back = seen.permute(0, 2, 3, 1).reshape(n, gap, gap, rows, columns, c).permute(0, 3, 1, 4, 2, 5)
    return back.reshape(n, rows * gap, columns * gap, c)[:, :h, :w].permute(0, 3, 1, 2)


def paired(conv: nn.Conv2d, x: FeatureMap) -> FeatureMap:
    """A 3x3 convolution of two channels to two in every group.

    On a CPU it is two depth-wise ones, of the channels and of the channels swapped within their pair, which is twice as
    fast.
    """
    if not x.is_cpu:
        return conv(x)
    n, c, h, w = x.shape
    swapped = x.permute(0, 2, 3, 1).reshape(n, h, w, c // 2, 2).flip(-1).reshape(n, h, w, c).permute(0, 3, 1, 2)
    pairs = conv.weight.view(c // 2, 2, 2, 3, 3)
    own = torch.stack((pairs[:, 0, 0], pairs[:, 1, 1]), dim=1).view(c, 1, 3, 3)
    other = torch.stack((pairs[:, 0, 1], pairs[:, 1, 0]), dim=1).view(c, 1, 3, 3)
    return F.conv2d(x, own, conv.bias, padding=1, groups=c) + F.conv2d(swapped, other, padding=1, groups=c)


def gram(
    q: FeatureMap, k: FeatureMap, heads: int
) -> tuple[Float[Tensor, "n h d d"], Float[Tensor, "n c"], Float[Tensor, "n c"]]:
    """Sums over pixels, in float32 at least: products of the channels of `q` and `k` within a head, and squares."""
    n, c, h, w = q.shape
    rows, columns = (each.permute(0, 2, 3, 1).reshape(n, h * w, heads, c // heads) for each in (q, k))
    half = working_dtype(q) is torch.float16  # which ends at 65504: a mean fits where a sum does not
    if half:
        rows, columns = rows * (h * w) ** -0.5, columns * (h * w) ** -0.5
    products = torch.einsum("nphd,nphe->nhde", rows, columns)
    products = products.to(torch.promote_types(products.dtype, torch.float32))
    return products * (h * w) if half else products, _squares(q), _squares(k)


def _squares(x: FeatureMap) -> Float[Tensor, "n c"]:
    """Sums of squares, in float32 at least; five times as fast on a CPU as the norm of PyTorch (2.15)."""
    x = x.float() if x.dtype is torch.float16 else x
    return (x * x).sum(dim=(2, 3), dtype=torch.promote_types(x.dtype, torch.float32))


def channel_attention(sums: tuple[Tensor, ...], temperature: Float[Tensor, "h 1 1"]) -> Float[Tensor, "n h d d"]:
    """Attention between channels: softmax of the cosine of each pair, from the sums of `gram`."""
    products, squares_q, squares_k = sums
    n, heads, d, _ = products.shape
    # As F.normalize does: a channel of zeros has a cosine of 0.
    norm_q = squares_q.clamp_min(1e-24).sqrt().view(n, heads, d, 1)
    norm_k = squares_k.clamp_min(1e-24).sqrt().view(n, heads, 1, d)
    return (products / (norm_q * norm_k) * temperature).softmax(dim=-1)


def mix_weight(weight: Float[Tensor, "o c"], attention: Float[Tensor, "n h d e"]) -> Float[Tensor, "n o c"]:
    """Merge the attention between channels with the projection behind it: one matrix a photo."""
    n, heads, d, _ = attention.shape
    return torch.einsum("ohd,nhde->nohe", weight.view(-1, heads, d), attention.to(weight.dtype)).reshape(
        n, -1, heads * d
    )


def mix(x: Float[Tensor, "n c h w"], weight: Float[Tensor, "n o c"]) -> Float[Tensor, "n o h w"]:
    """A 1x1 convolution with a matrix of its own for each photo."""
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
    return torch.bmm(pixels, weight.transpose(1, 2)).view(n, h, w, -1).permute(0, 3, 1, 2)
