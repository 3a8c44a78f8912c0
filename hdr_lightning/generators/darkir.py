"""DarkIR: light in the encoder, by amplitudes of frequencies; sharpness in the decoder, by dilated convolutions.

Feijoo, Benito, Garcia, Conde: "DarkIR: Robust Low-Light Image Restoration", CVPR 2025 (arXiv:2412.13443).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hdr_lightning.generators.base import SideGenerator
from hdr_lightning.generators.block import Weights
from hdr_lightning.generators.layers import dilated, paired, pointwise, simple_gate, working_dtype
from hdr_lightning.generators.tiles import FeatureMap
from hdr_lightning.generators.unet import GatedBlock, PooledBlock, UNet


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


def gated_sum(branches: nn.ModuleList, x: FeatureMap) -> FeatureMap:
    """Gate the sum of the branches."""
    first, *others = branches
    total = first(x)
    for branch in others:
        total = total + branch(x)
    return simple_gate(total)


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

    look_halo = 2
    runs_in_strips = False  # frequencies are of the whole picture

    def __init__(self, channels: int, extra_depth_wise: bool) -> None:
        super().__init__(channels)
        self.branches = nn.ModuleList([Branch(2 * channels, dilation=1)])
        self.extra_conv = (
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels) if extra_depth_wise else nn.Identity()
        )
        self.freq = AmplitudeMLP(channels)

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        return gated_sum(self.branches, pointwise(self.extra_conv(self.norm1(x)), *weights[0]))

    def forward(self, x: Float[Tensor, "n c h w"], *guides: Float[Tensor, "n g h w"]) -> Float[Tensor, "n c h w"]:
        x = super().forward(x)
        if self.checkpointed and torch.is_grad_enabled():
            return checkpoint(self._light, x, use_reentrant=False)
        return self._light(x)

    def _light(self, x: FeatureMap) -> FeatureMap:
        return x + x * self.freq(self.norm2(x)) * self.gamma.to(x.dtype)


class DecoderBlock(GatedBlock):
    """Gated convolutions at several dilations, then a gated 1x1 pair (figure 3, right)."""

    def __init__(self, channels: int, dilations: Sequence[int], extra_depth_wise: bool) -> None:
        super().__init__(channels)
        self.branches = nn.ModuleList(Branch(2 * channels, dilation) for dilation in dilations)
        self.look_halo = 1 + max(dilations)
        self.extra_conv = (
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=channels) if extra_depth_wise else nn.Identity()
        )

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        widened = pointwise(self.norm1(x), *weights[0])
        if isinstance(self.extra_conv, nn.Conv2d):
            widened = paired(self.extra_conv, widened)
        return gated_sum(self.branches, widened)


class BlockList(nn.Module):
    """Blocks one after the other, under the published name `modules_list`."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.modules_list = nn.ModuleList(blocks)

    def forward(self, x: FeatureMap) -> FeatureMap:
        for block in self.modules_list:
            x = block(x)
        return x


class DarkIR(UNet, SideGenerator):
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

    middle = (["middle_blks_enc"], ["middle_blks_dec"])
    ends = ("ending", "side_out")

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
        def encoder(blocks: int, channels: int) -> BlockList:
            return BlockList([EncoderBlock(channels, extra_depth_wise) for _ in range(blocks)])

        def decoder(blocks: int, channels: int) -> BlockList:
            return BlockList([DecoderBlock(channels, dilations, extra_depth_wise) for _ in range(blocks)])

        super().__init__(in_channels, width, encoder_blocks, decoder_blocks, encoder, decoder)
        self.middle_blks_enc = encoder(middle_encoder_blocks, self.lowest)
        self.middle_blks_dec = decoder(middle_decoder_blocks, self.lowest)
        self.side_out = nn.Conv2d(self.lowest, 3, 3, padding=1)
        self.side_out.requires_grad_(False)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        encoded, skips = self.encode(image)
        return self._repair(image, encoded, skips)

    def forward_with_side(
        self, image: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3 hs ws"]]:
        encoded, skips = self.encode(image)
        return self._repair(image, encoded, skips), self.side_out(encoded)

    def train_side(self) -> None:
        self.side_out.requires_grad_(True)

    def encode(self, image: FeatureMap) -> tuple[FeatureMap, list[FeatureMap]]:
        x, skips = super().encode(image)
        return self.middle_blks_enc(x), skips

    def _repair(self, image: FeatureMap, encoded: FeatureMap, skips: list[FeatureMap]) -> FeatureMap:
        return self.decode(image, self.middle_blks_dec(encoded) + encoded, skips)
