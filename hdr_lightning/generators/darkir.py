"""DarkIR: light in the encoder, by amplitudes of frequencies; sharpness in the decoder, by dilated convolutions.

Feijoo, Benito, Garcia, Conde: "DarkIR: Robust Low-Light Image Restoration", CVPR 2025 (arXiv:2412.13443).
"""

from collections.abc import Sequence
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import SideGenerator
from hdr_lightning.generators.block import Block, Count, Weights
from hdr_lightning.generators.layers import (
    ChannelNorm,
    add_scaled,
    dilated,
    matrix,
    paired,
    pointwise,
    simple_gate,
    working_dtype,
)
from hdr_lightning.generators.tiles import Area, FeatureMap, in_tiles


class Branch(nn.Module):
    """A depth-wise convolution with gaps, under its published name `branch.0`."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels)
        self.branch = nn.ModuleList([conv])

    def forward(self, x: FeatureMap) -> FeatureMap:
        (conv,) = self.branch
        assert isinstance(conv, nn.Conv2d)
        return dilated(conv, x)


class PooledBlock(Block):
    """What encoder and decoder blocks share: gated convolutions, scaled by their mean over the picture."""

    def __init__(self, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.branches = nn.ModuleList(Branch(2 * channels, dilation) for dilation in dilations)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm1 = ChannelNorm(channels, eps=1e-6)
        self.norm2 = ChannelNorm(channels, eps=1e-6)
        # Published start: every block begins as the identity.
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.look_halo = 1 + max(dilations)

    def branched(self, x: FeatureMap) -> FeatureMap:
        """Gate the sum of the branches."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return simple_gate(total)

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


class AmplitudeMLP(nn.Module):
    """Change the amplitude of every frequency and keep its phase (section 3.1).

    The transform runs in float32 at least, and under float16 all of it: PyTorch has none in bfloat16, and the sum of a
    large picture passes the range of float16.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.process1 = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.LeakyReLU(0.1), nn.Conv2d(2 * channels, channels, 1)
        )

    def forward(self, x: FeatureMap) -> FeatureMap:
        wide = torch.promote_types(x.dtype, torch.float32)
        frequencies = torch.fft.rfft2(x.to(wide).contiguous())  # torch.compile (2.15) takes no other layout
        amplitude = frequencies.abs()
        # Where there is no amplitude the phase is 0, as torch.angle has it.
        phase = torch.where(amplitude > 0, frequencies / amplitude.clamp_min(1e-30), 1.0)
        working = working_dtype(x)
        dtype = wide if working == torch.float16 else working
        with torch.autocast(x.device.type, enabled=False):
            for layer in self.process1:
                if isinstance(layer, nn.Conv2d):
                    assert layer.bias is not None
                    amplitude = F.conv2d(amplitude.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))
                else:
                    amplitude = layer(amplitude)
        return torch.fft.irfft2(phase * amplitude.to(wide), s=x.shape[-2:]).to(x.dtype)


class EncoderBlock(PooledBlock):
    """Gated convolutions, then the picture scaled by its changed amplitudes (figure 3, left)."""

    def __init__(self, channels: int, extra_depth_wise: bool) -> None:
        super().__init__(channels, dilations=(1,))
        self.extra_conv = (
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels) if extra_depth_wise else nn.Identity()
        )
        self.freq = AmplitudeMLP(channels)

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        return self.branched(pointwise(self.extra_conv(self.norm1(x)), *weights[0]))

    def forward(self, x: Float[Tensor, "n c h w"], *guides: Float[Tensor, "n g h w"]) -> Float[Tensor, "n c h w"]:
        x = super().forward(x)
        return x + x * self.freq(self.norm2(x)) * self.gamma.to(x.dtype)


class DecoderBlock(PooledBlock):
    """Gated convolutions at several dilations, then a gated 1x1 pair (figure 3, right)."""

    def __init__(self, channels: int, dilations: Sequence[int], extra_depth_wise: bool) -> None:
        super().__init__(channels, dilations)
        self.extra_conv = (
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=channels) if extra_depth_wise else nn.Identity()
        )
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        widened = pointwise(self.norm1(x), *weights[0])
        if isinstance(self.extra_conv, nn.Conv2d):
            widened = paired(self.extra_conv, widened)
        return self.branched(widened)

    def prepare(self, like: FeatureMap) -> Weights:
        return (*super().prepare(like), matrix(self.conv4, like), matrix(self.conv5, like))

    def finish(
        self, x: FeatureMap, kept: FeatureMap, conclusion: Tensor, weights: Weights, inside: Area, *guides: FeatureMap
    ) -> FeatureMap:
        x = super().finish(x, kept, conclusion, weights, inside)
        gated = simple_gate(pointwise(self.norm2(x), *weights[2]))
        return add_scaled(x, pointwise(gated, *weights[3]), self.gamma)


class BlockList(nn.Module):
    """Blocks one after the other, under the published name `modules_list`."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.modules_list = nn.ModuleList(blocks)

    def forward(self, x: FeatureMap) -> FeatureMap:
        for block in self.modules_list:
            x = block(x)
        return x


class DarkIR(SideGenerator):
    """DarkIR; its defaults are the published DarkIR-m (3,321,638 parameters; `width=64` is l, 12,957,254).

    Args:
        width: channels at full resolution; they double at each of the levels below.
        encoder_blocks: number of blocks at each level on the way down, full resolution first.
        middle_encoder_blocks: number of encoder blocks at the lowest resolution.
        middle_decoder_blocks: number of decoder blocks at the lowest resolution.
        decoder_blocks: number of blocks at each level on the way up, full resolution last.
        dilations: gaps of the branches of a decoder block.
        extra_depth_wise: whether every block has one more depth-wise convolution.
        in_channels: planes of the input; the first three are RGB, to which the output is a correction.

    Raises:
        InputError: if encoder and decoder differ in their number of levels.
    """

    def __init__(
        self,
        width: int = 32,
        encoder_blocks: Sequence[int] = (1, 2, 3),
        middle_encoder_blocks: int = 2,
        middle_decoder_blocks: int = 2,
        decoder_blocks: Sequence[int] = (3, 1, 1),
        dilations: Sequence[int] = (1, 4, 9),
        extra_depth_wise: bool = True,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if len(encoder_blocks) != len(decoder_blocks):
            raise InputError(
                f"DarkIR has {len(encoder_blocks)} levels down (encoder_blocks) and {len(decoder_blocks)} up "
                "(decoder_blocks): give both the same length"
            )
        self.in_channels = in_channels
        self.stride = 2 ** len(encoder_blocks)
        widths = [width * 2**level for level in range(len(encoder_blocks) + 1)]

        def encoder(blocks: int, channels: int) -> BlockList:
            return BlockList([EncoderBlock(channels, extra_depth_wise) for _ in range(blocks)])

        def decoder(blocks: int, channels: int) -> BlockList:
            return BlockList([DecoderBlock(channels, dilations, extra_depth_wise) for _ in range(blocks)])

        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(encoder(*each) for each in zip(encoder_blocks, widths, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 2, 2) for channels in widths[:-1])
        self.middle_blks_enc = encoder(middle_encoder_blocks, widths[-1])
        self.middle_blks_dec = decoder(middle_decoder_blocks, widths[-1])
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2))
            for channels in reversed(widths[1:])
        )
        self.decoders = nn.ModuleList(
            decoder(*each) for each in zip(decoder_blocks, reversed(widths[:-1]), strict=True)
        )
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.side_out = nn.Conv2d(widths[-1], 3, 3, padding=1)
        self.side_out.requires_grad_(False)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        return self._decode(image, *self._encode(image))

    def forward_with_side(
        self, image: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3 hs ws"]]:
        encoded, skips = self._encode(image)
        return self._decode(image, encoded, skips), self.side_out(encoded)

    def train_side(self) -> None:
        self.side_out.requires_grad_(True)

    def _encode(self, image: FeatureMap) -> tuple[FeatureMap, list[FeatureMap]]:
        x = in_tiles(self.intro, image.contiguous(memory_format=torch.channels_last), halo=1)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = in_tiles(down, x, scale=Fraction(1, 2))
        return self.middle_blks_enc(x), skips

    def _decode(self, image: FeatureMap, encoded: FeatureMap, skips: list[FeatureMap]) -> FeatureMap:
        x = self.middle_blks_dec(encoded) + encoded
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(in_tiles(lambda x, s, up=up: up(x) + s, x, scale=Fraction(2), beside=[skips.pop()]))
        return in_tiles(lambda x, i: self.ending(x) + i[:, :3], x, image, halo=1)
