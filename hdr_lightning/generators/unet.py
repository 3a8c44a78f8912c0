"""What NAFNet and DarkIR share: a plain U-Net, and blocks that scale gated features by their mean over the picture."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.block import Block, Count, Weights
from hdr_lightning.generators.layers import ChannelNorm, add_scaled, matrix, pointwise, simple_gate
from hdr_lightning.generators.tiles import Area, FeatureMap, in_tiles


class PooledBlock(Block):
    """Gated features, scaled by what their mean over the picture comes to (simplified channel attention)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, eps=1e-6)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = ChannelNorm(channels, eps=1e-6)
        # Published start: every block begins as the identity, which lets many of them train.
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def prepare(self, like: FeatureMap) -> Weights:
        return (matrix(self.conv1, like), matrix(self.conv3, like))

    def summarise(self, seen: FeatureMap) -> tuple[FeatureMap, tuple[Tensor, ...]]:
        return seen, (seen.sum(dim=(2, 3), keepdim=True, dtype=torch.float32),)

    def conclude(self, sums: tuple[Tensor, ...], pixels: Count) -> Tensor:
        return self.sca[1]((sums[0] / pixels).to(self.beta.dtype))

    def finish(
        self, x: FeatureMap, kept: FeatureMap, conclusion: Tensor, weights: Weights, inside: Area, *guides: FeatureMap
    ) -> FeatureMap:
        return add_scaled(x, pointwise(kept * conclusion, *weights[1]), self.beta)


class GatedBlock(PooledBlock):
    """The same with a gated 1x1 pair behind it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)

    def prepare(self, like: FeatureMap) -> Weights:
        return (*super().prepare(like), matrix(self.conv4, like), matrix(self.conv5, like))

    def finish(
        self, x: FeatureMap, kept: FeatureMap, conclusion: Tensor, weights: Weights, inside: Area, *guides: FeatureMap
    ) -> FeatureMap:
        x = super().finish(x, kept, conclusion, weights, inside)
        gated = simple_gate(pointwise(self.norm2(x), *weights[2]))
        return add_scaled(x, pointwise(gated, *weights[3]), self.gamma)


class UNet(Generator):
    """A U-Net whose output is a correction to the first three planes of its input.

    Attributes:
        middle: stages at the lowest resolution.
        ends: parts that make pictures.

    Args:
        in_channels: planes of the input.
        width: channels at full resolution; they double at each of the levels below.
        encoder_blocks: number of blocks at each level on the way down, full resolution first.
        decoder_blocks: number of blocks at each level on the way up, full resolution last.
        encoder: makes a level of the encoder from its number of blocks and of channels.
        decoder: makes a level of the decoder.

    Raises:
        InputError: if encoder and decoder differ in their number of levels.
    """

    middle: Sequence[list[str]] = (["middle_blks"],)
    ends: Sequence[str] = ("ending",)

    def __init__(
        self,
        in_channels: int,
        width: int,
        encoder_blocks: Sequence[int],
        decoder_blocks: Sequence[int],
        encoder: Callable[[int, int], nn.Module],
        decoder: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        if len(encoder_blocks) != len(decoder_blocks):
            raise InputError(
                f"{type(self).__name__} has {len(encoder_blocks)} levels down (encoder_blocks) and "
                f"{len(decoder_blocks)} up (decoder_blocks): give both the same length"
            )
        self.in_channels = in_channels
        self.stride = 2 ** len(encoder_blocks)
        widths = [width * 2**level for level in range(len(encoder_blocks))]
        self.lowest = width * self.stride
        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(encoder(*each) for each in zip(encoder_blocks, widths, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 2, 2) for channels in widths)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * channels, 4 * channels, 1, bias=False), nn.PixelShuffle(2))
            for channels in reversed(widths)
        )
        self.decoders = nn.ModuleList(decoder(*each) for each in zip(decoder_blocks, reversed(widths), strict=True))
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

    @property
    def stages(self) -> list[list[str]]:
        levels = range(len(self.encoders))
        down = [[f"encoders.{level}", f"downs.{level}"] for level in levels]
        up = [[f"decoders.{level}", f"ups.{level}"] for level in levels]
        return [["intro"], *down, *self.middle, *up, list(self.ends)]

    def encode(self, image: FeatureMap) -> tuple[FeatureMap, list[FeatureMap]]:
        """Features at the lowest resolution, of `lowest` channels, and those of each level above it."""
        x = in_tiles(self.intro, image.contiguous(memory_format=torch.channels_last), halo=1)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = in_tiles(down, x, scale=Fraction(1, 2))
        return x, skips

    def decode(self, image: FeatureMap, x: FeatureMap, skips: list[FeatureMap]) -> FeatureMap:
        """The picture, corrected by what the features come to."""
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(in_tiles(lambda x, s, up=up: up(x) + s, x, scale=Fraction(2), beside=[skips.pop()]))
        return in_tiles(lambda x, i: self.ending(x) + i[:, :3], x, image, halo=1)
