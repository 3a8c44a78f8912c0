"""NAFNet: a restoration U-Net without activation functions.

Chen, Chu, Zhang, Sun: "Simple Baselines for Image Restoration", ECCV 2022 (arXiv:2204.04676).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.layers import channel_norm


class LayerNorm(nn.Module):
    """Layer norm over the channels of every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return channel_norm(x, self.weight, self.bias, eps=1e-6)


def simple_gate(x: Float[Tensor, "n c2 h w"]) -> Float[Tensor, "n c h w"]:
    """Multiply the two halves of the channels (eq. 4)."""
    first, second = x.chunk(2, dim=1)
    return first * second


class NAFBlock(nn.Module):
    """The block of figure 3c: gated depth-wise convolution with channel attention, then a gated 1x1 pair."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels)
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))  # eq. 5
        self.conv3 = nn.Conv2d(channels, channels, 1)

        self.norm2 = LayerNorm(channels)
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)

        # Published start: every block begins as the identity, which lets 36 of them train.
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        y = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.conv3(y * self.sca(y)) * self.beta
        y = simple_gate(self.conv4(self.norm2(x)))
        return x + self.conv5(y) * self.gamma


class NAFNet(Generator):
    """NAFNet; its defaults are the published SIDD network (29.2 M parameters at width 32, 116 M at 64).

    The GoPro network has `encoder_blocks=(1, 1, 1, 28)`, `middle_blocks=1`, `decoder_blocks=(1, 1, 1, 1)`.

    Args:
        width: channels at full resolution; they double at each of the levels below.
        encoder_blocks: number of blocks at each level on the way down, full resolution first.
        middle_blocks: number of blocks at the lowest resolution.
        decoder_blocks: number of blocks at each level on the way up, full resolution last.
        in_channels: planes of the input; the first three are RGB, to which the output is a correction.

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
            return nn.Sequential(*(NAFBlock(channels) for _ in range(blocks)))

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
        x = self.intro(image.contiguous(memory_format=torch.channels_last))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            x = decoder(up(x) + skip)
        return image[:, :3] + self.ending(x)
