"""NAFNet: a restoration U-Net without activation functions.

Chen, Chu, Zhang, Sun: "Simple Baselines for Image Restoration", ECCV 2022 (arXiv:2204.04676).
"""

from collections.abc import Sequence
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.block import Block, Count, Weights
from hdr_lightning.generators.layers import (
    ChannelNorm,
    add_scaled,
    local_mean,
    matrix,
    pointwise,
    simple_gate,
)
from hdr_lightning.generators.tiles import Area, FeatureMap, in_tiles


class NAFBlock(Block):
    """The block of figure 3c: gated depth-wise convolution with channel attention, then a gated 1x1 pair."""

    def __init__(self, channels: int, window: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.norm1 = ChannelNorm(channels, eps=1e-6)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))  # eq. 5
        self.conv3 = nn.Conv2d(channels, channels, 1)

        self.norm2 = ChannelNorm(channels, eps=1e-6)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)

        # Published start: every block begins as the identity, which lets 36 of them train.
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def prepare(self, like: FeatureMap) -> Weights:
        convs = (self.conv1, self.conv3, self.conv4, self.conv5)
        return tuple(matrix(conv, like) for conv in convs)

    def forward(self, x: Float[Tensor, "n c h w"], *guides: Float[Tensor, "n g h w"]) -> Float[Tensor, "n c h w"]:
        if self.window is None or self.training:
            return super().forward(x)
        weights = self.prepare(x)
        seen = self.look(x, weights)
        scale = self.sca[1](local_mean(seen, self.window))
        return self.finish(x, seen, scale, weights, (slice(None), slice(None)))

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        return simple_gate(self.conv2(pointwise(self.norm1(x), *weights[0])))

    def summarise(self, seen: FeatureMap) -> tuple[FeatureMap, tuple[Tensor, ...]]:
        return seen, (seen.sum(dim=(2, 3), keepdim=True, dtype=torch.float32),)

    def conclude(self, sums: tuple[Tensor, ...], pixels: Count) -> Tensor:
        return self.sca[1]((sums[0] / pixels).to(self.beta.dtype))

    def finish(
        self, x: FeatureMap, kept: FeatureMap, conclusion: Tensor, weights: Weights, inside: Area, *guides: FeatureMap
    ) -> FeatureMap:
        x = add_scaled(x, pointwise(kept * conclusion, *weights[1]), self.beta)
        gated = simple_gate(pointwise(self.norm2(x), *weights[2]))
        return add_scaled(x, pointwise(gated, *weights[3]), self.gamma)


class NAFNet(Generator):
    """NAFNet; its defaults are the published SIDD network (29.2 M parameters at width 32, 116 M at 64).

    The GoPro network has `encoder_blocks=(1, 1, 1, 28)`, `middle_blocks=1`, `decoder_blocks=(1, 1, 1, 1)`.

    Args:
        width: channels at full resolution; they double at each of the levels below.
        encoder_blocks: number of blocks at each level on the way down, full resolution first.
        middle_blocks: number of blocks at the lowest resolution.
        decoder_blocks: number of blocks at each level on the way up, full resolution last.
        in_channels: planes of the input; the first three are RGB, to which the output is a correction.
        local_window: side, in pixels, of the window over which channel attention averages outside training, instead of
            the whole picture: 1.5 times the training crop (TLC; Chu et al., ECCV 2022, arXiv:2112.04491).

    Raises:
        InputError: if encoder and decoder differ in their number of levels.
    """

    def __init__(
        self,
        width: int = 32,
        encoder_blocks: Sequence[int] = (2, 2, 4, 8),
        middle_blocks: int = 12,
        decoder_blocks: Sequence[int] = (2, 2, 2, 2),
        in_channels: int = 3,
        local_window: int | None = None,
    ) -> None:
        super().__init__()
        if len(encoder_blocks) != len(decoder_blocks):
            raise InputError(
                f"NAFNet has {len(encoder_blocks)} levels down (encoder_blocks) and {len(decoder_blocks)} up "
                "(decoder_blocks): give both the same length"
            )
        self.in_channels = in_channels
        self.stride = 2 ** len(encoder_blocks)
        widths = [width * 2**level for level in range(len(encoder_blocks) + 1)]

        def level(blocks: int, channels: int) -> nn.Sequential:
            window = None if local_window is None else max(1, local_window * width // channels)
            return nn.Sequential(*(NAFBlock(channels, window) for _ in range(blocks)))

        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(level(*each) for each in zip(encoder_blocks, widths, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 2, 2) for channels in widths[:-1])
        self.middle_blks = level(middle_blocks, widths[-1])
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2))
            for channels in reversed(widths[1:])
        )
        self.decoders = nn.ModuleList(level(*each) for each in zip(decoder_blocks, reversed(widths[:-1]), strict=True))
        self.ending = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        x = in_tiles(self.intro, image.contiguous(memory_format=torch.channels_last), halo=1)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = in_tiles(down, x, scale=Fraction(1, 2))
        x = self.middle_blks(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(in_tiles(lambda x, s, up=up: up(x) + s, x, scale=Fraction(2), beside=[skips.pop()]))
        return in_tiles(lambda x, i: self.ending(x) + i[:, :3], x, image, halo=1)
