"""Restormer: a restoration transformer whose attention runs over channels, so its cost is linear in the pixels.

Zamir, Arora, Khan, Hayat, Khan, Yang: "Restormer: Efficient Transformer for High-Resolution Image Restoration",
CVPR 2022 (arXiv:2111.09881). Written from the paper.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.layers import channel_norm

Norm = Literal["WithBias", "BiasFree"]


class WithBiasNorm(nn.Module):
    """Layer norm over channels, with gain and offset."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return channel_norm(x, self.weight, self.bias, eps=1e-5)


class BiasFreeNorm(nn.Module):
    """Division by the standard deviation over channels; the mean stays, so this is not RMS norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        scale = torch.rsqrt(x.float().var(dim=1, keepdim=True, correction=0) + 1e-5)
        return x * scale.to(x.dtype) * self.weight.to(x.dtype).view(1, -1, 1, 1)


class LayerNorm(nn.Module):
    """One of the two published norms, under the published name `body`."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.body = WithBiasNorm(channels) if norm == "WithBias" else BiasFreeNorm(channels)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return self.body(x)


class Attention(nn.Module):
    """Multi-Dconv head transposed attention (section 3.1, eq. 1): a c/heads x c/heads map a head."""

    def __init__(self, channels: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        n, c, h, w = x.shape
        qkv = self.qkv_dwconv(self.qkv(x)).permute(0, 2, 3, 1)
        q, k, v = qkv.reshape(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 4, 1)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        mixed = (attention @ v).permute(0, 3, 1, 2).reshape(n, h, w, c)
        return self.project_out(mixed.permute(0, 3, 1, 2))


class FeedForward(nn.Module):
    """Gated-Dconv feed-forward network (section 3.2, eq. 2)."""

    def __init__(self, channels: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * value)


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each behind a norm and around a skip (figure 2)."""

    def __init__(self, channels: int, heads: int, expansion: float, bias: bool, norm: Norm) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels, norm)
        self.attn = Attention(channels, heads, bias)
        self.norm2 = LayerNorm(channels, norm)
        self.ffn = FeedForward(channels, expansion, bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class PatchEmbedding(nn.Module):
    """A 3x3 convolution, under the published name `proj`."""

    def __init__(self, in_channels: int, channels: int, bias: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, 3, padding=1, bias=bias)

    def forward(self, image: Float[Tensor, "n i h w"]) -> Float[Tensor, "n c h w"]:
        return self.proj(image)


class Resample(nn.Module):
    """Half or double the resolution: a 3x3 convolution and a pixel (un)shuffle, under the published name `body`."""

    def __init__(self, channels: int, direction: Literal["down", "up"]) -> None:
        super().__init__()
        down = direction == "down"
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels // 2 if down else 2 * channels, 3, padding=1, bias=False),
            nn.PixelUnshuffle(2) if down else nn.PixelShuffle(2),
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        return self.body(x)


class Restormer(Generator):
    """Restormer; its defaults are the published network (26,126,644 parameters; 26,111,668 with `norm="BiasFree"`).

    Args:
        dim: channels at full resolution; they double at each level below. A multiple of `heads[0]`.
        num_blocks: number of transformer blocks at the four levels, full resolution first.
        num_refinement_blocks: number of blocks at full resolution behind the decoder.
        heads: attention heads at the four levels.
        ffn_expansion_factor: hidden width of the feed-forward network over its input width.
        bias: whether the convolutions carry an offset.
        norm: layer norm with or without mean and offset, by its published name.
        in_channels: planes of the input; the first `out_channels` are those that the output corrects.
        out_channels: planes of the output.

    Raises:
        InputError: if not four levels are given, or `heads` do not divide the channels of their level.
    """

    stride = 8

    def __init__(
        self,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        norm: Norm = "WithBias",
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        if len(num_blocks) != 4 or len(heads) != 4:
            raise InputError(
                f"Restormer has 4 levels; num_blocks gives {len(num_blocks)} and heads {len(heads)}: give 4 of each"
            )
        for level, count in enumerate(heads):
            if dim * 2**level % count:
                raise InputError(
                    f"level {level + 1} of Restormer has {dim * 2**level} channels, which {count} heads do not divide: "
                    "change dim or heads"
                )
        self.in_channels = in_channels
        self.out_channels = out_channels

        def stage(blocks: int, channels: int, level: int) -> nn.Sequential:
            return nn.Sequential(
                *(TransformerBlock(channels, heads[level], ffn_expansion_factor, bias, norm) for _ in range(blocks))
            )

        self.patch_embed = PatchEmbedding(in_channels, dim, bias=False)
        self.encoder_level1 = stage(num_blocks[0], dim, 0)
        self.down1_2 = Resample(dim, "down")
        self.encoder_level2 = stage(num_blocks[1], 2 * dim, 1)
        self.down2_3 = Resample(2 * dim, "down")
        self.encoder_level3 = stage(num_blocks[2], 4 * dim, 2)
        self.down3_4 = Resample(4 * dim, "down")
        self.latent = stage(num_blocks[3], 8 * dim, 3)

        self.up4_3 = Resample(8 * dim, "up")
        self.reduce_chan_level3 = nn.Conv2d(8 * dim, 4 * dim, 1, bias=bias)
        self.decoder_level3 = stage(num_blocks[2], 4 * dim, 2)
        self.up3_2 = Resample(4 * dim, "up")
        self.reduce_chan_level2 = nn.Conv2d(4 * dim, 2 * dim, 1, bias=bias)
        self.decoder_level2 = stage(num_blocks[1], 2 * dim, 1)
        self.up2_1 = Resample(2 * dim, "up")
        self.decoder_level1 = stage(num_blocks[0], 2 * dim, 0)
        self.refinement = stage(num_refinement_blocks, 2 * dim, 0)
        self.output = nn.Conv2d(2 * dim, out_channels, 3, padding=1, bias=bias)

    def forward(self, image: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h w"]:
        level1 = self.encoder_level1(self.patch_embed(image.contiguous(memory_format=torch.channels_last)))
        level2 = self.encoder_level2(self.down1_2(level1))
        level3 = self.encoder_level3(self.down2_3(level2))
        x = self.latent(self.down3_4(level3))

        x = self.decoder_level3(self.reduce_chan_level3(torch.cat((self.up4_3(x), level3), dim=1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat((self.up3_2(x), level2), dim=1)))
        x = self.decoder_level1(torch.cat((self.up2_1(x), level1), dim=1))  # the concatenation stays 2 dim wide
        x = self.refinement(x)
        return image[:, : self.out_channels] + self.output(x)
