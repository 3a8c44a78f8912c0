"""Restormer: a restoration transformer whose attention runs over channels, so its cost is linear in the pixels.

Zamir, Arora, Khan, Hayat, Khan, Yang: "Restormer: Efficient Transformer for High-Resolution Image Restoration",
CVPR 2022 (arXiv:2111.09881). Written from the paper.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.block import Block, Count, Weights
from hdr_lightning.generators.layers import (
    ChannelNorm,
    channel_attention,
    depthwise,
    gram,
    matrix,
    mix,
    mix_weight,
    pointwise,
    pointwise_after,
    working_dtype,
)
from hdr_lightning.generators.tiles import Area, FeatureMap, crop, in_tiles

Norm = Literal["WithBias", "BiasFree"]


class BiasFreeNorm(nn.Module):
    """Division by the standard deviation over channels; the mean stays, so this is not RMS norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: FeatureMap) -> FeatureMap:
        scale = torch.rsqrt(x.float().var(dim=1, keepdim=True, correction=0) + 1e-5)
        return x * scale.to(x.dtype) * self.weight.to(x.dtype).view(1, -1, 1, 1)


class LayerNorm(nn.Module):
    """One of the two published norms, under the published name `body`."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.body = ChannelNorm(channels, eps=1e-5) if norm == "WithBias" else BiasFreeNorm(channels)

    def forward(self, x: FeatureMap) -> FeatureMap:
        return self.body(x)


class Attention(nn.Module):
    """Parameters of multi-Dconv head transposed attention (section 3.1, eq. 1): a c/heads x c/heads map a head."""

    def __init__(self, channels: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=bias)


class FeedForward(nn.Module):
    """Parameters of the gated-Dconv feed-forward network (section 3.2, eq. 2)."""

    def __init__(self, channels: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)


def gelu_gate(x: FeatureMap) -> FeatureMap:
    """Multiply the GELU of the first half of the channels with the second."""
    gate, value = x.chunk(2, dim=1)
    return F.gelu(gate) * value


class TransformerBlock(Block):
    """Attention and feed-forward, each behind a norm and around a skip (figure 2)."""

    look_halo = 1
    finish_halo = 1

    def __init__(self, channels: int, heads: int, expansion: float, bias: bool, norm: Norm) -> None:
        super().__init__()
        self.widening = 2 * expansion
        self.norm1 = LayerNorm(channels, norm)
        self.attn = Attention(channels, heads, bias)
        self.norm2 = LayerNorm(channels, norm)
        self.ffn = FeedForward(channels, expansion, bias)

    def prepare(self, like: FeatureMap) -> Weights:
        """Halves of the gate are padded with zeros, which change nothing, to a width that vector units like."""
        ffn, dtype = self.ffn, working_dtype(like)
        hidden = ffn.project_out.in_channels
        more = -hidden % 16

        def widened(conv: nn.Conv2d) -> tuple[Tensor, Tensor | None]:
            weight, bias = (
                None if each is None else F.pad(each.to(dtype).view(2, hidden, -1), (0, 0, 0, more)).flatten(0, 1)
                for each in (conv.weight, conv.bias)
            )
            assert weight is not None
            return weight, None if bias is None else bias.flatten()

        narrow, bias = matrix(ffn.project_out, like)
        spread, spread_bias = widened(ffn.dwconv)
        return (
            matrix(self.attn.qkv, like),
            widened(ffn.project_in),
            (spread.view(-1, 1, 3, 3), spread_bias),
            (F.pad(narrow, (0, more)), bias),
        )

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        return self.attn.qkv_dwconv(pointwise_after(self.norm1, x, *weights[0]))

    def summarise(self, seen: FeatureMap) -> tuple[FeatureMap, tuple[Tensor, ...]]:
        q, k, v = seen.chunk(3, dim=1)
        return v, gram(q, k, self.attn.heads)

    def conclude(self, sums: tuple[Tensor, ...], pixels: Count) -> Tensor:
        attention = channel_attention(sums, self.attn.temperature)
        return mix_weight(self.attn.project_out.weight.flatten(1), attention)

    def finish(
        self, x: FeatureMap, kept: FeatureMap, conclusion: Tensor, weights: Weights, inside: Area, *guides: FeatureMap
    ) -> FeatureMap:
        mixed = mix(kept, conclusion)
        if self.attn.project_out.bias is not None:
            mixed = mixed + self.attn.project_out.bias.view(1, -1, 1, 1)
        x = x + mixed
        hidden = depthwise(pointwise_after(self.norm2, x, *weights[1]), *weights[2])
        return crop(x, inside) + pointwise_after(gelu_gate, crop(hidden, inside), *weights[3])


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
        slim: whether the last decoder level is as narrow as the first encoder level (25,437,220 parameters; 21,879,412
            with `ffn_expansion_factor=2`), where the published network keeps the concatenation of both.
        dual_pixel: the published layout for two views of a dual-pixel sensor (`in_channels=6`): features of the input
            are added before the last convolution, instead of the input after it.

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
        slim: bool = False,
        dual_pixel: bool = False,
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
        last = dim if slim else 2 * dim
        self.reduce_chan_level1 = nn.Conv2d(2 * dim, dim, 1, bias=bias) if slim else None
        self.decoder_level1 = stage(num_blocks[0], last, 0)
        self.refinement = stage(num_refinement_blocks, last, 0)
        self.skip_conv = nn.Conv2d(dim, last, 1, bias=bias) if dual_pixel else None
        self.output = nn.Conv2d(last, out_channels, 3, padding=1, bias=bias)

    @property
    def stages(self) -> list[list[str]]:
        return [
            ["patch_embed"],
            *([f"encoder_level{level}", f"down{level}_{level + 1}"] for level in (1, 2, 3)),
            ["latent"],
            *([f"decoder_level{level}", f"up{level + 1}_{level}", f"reduce_chan_level{level}"] for level in (3, 2, 1)),
            ["refinement"],
            ["output", "skip_conv"],
        ]

    def forward(self, image: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h w"]:
        embedded = in_tiles(self.patch_embed, image.contiguous(memory_format=torch.channels_last), halo=1)
        level1 = self.encoder_level1(embedded)
        level2 = self.encoder_level2(_down(self.down1_2, level1))
        level3 = self.encoder_level3(_down(self.down2_3, level2))
        x = self.latent(_down(self.down3_4, level3))

        x = self.decoder_level3(_up(self.up4_3, x, level3, self.reduce_chan_level3))
        x = self.decoder_level2(_up(self.up3_2, x, level2, self.reduce_chan_level2))
        x = self.decoder_level1(_up(self.up2_1, x, level1, self.reduce_chan_level1))
        x = self.refinement(x)
        skip = self.skip_conv
        if skip is not None:  # two views have no one picture that the output could correct
            return in_tiles(lambda x, e: self.output(x + skip(e)), x, embedded, halo=1)
        return in_tiles(lambda x, i: self.output(x) + i[:, : self.out_channels], x, image, halo=1)


def _down(down: Resample, x: FeatureMap) -> FeatureMap:
    return in_tiles(down, x, halo=2, scale=Fraction(1, 2))  # one row would do, but halving needs pairs


def _up(up: Resample, x: FeatureMap, skip: FeatureMap, reduce: nn.Conv2d | None) -> FeatureMap:
    def join(x: FeatureMap, skip: FeatureMap) -> FeatureMap:
        both = torch.cat((up(x), skip), dim=1)
        return both if reduce is None else pointwise(both, *matrix(reduce, both))

    return in_tiles(join, x, halo=1, scale=Fraction(2), beside=[skip])
