"""RetinexFormer: the light of a picture is estimated and lifted, and its features guide the attention that repairs it.

Cai, Bian, Lin, Wang, Timofte, Zhang: "Retinexformer: One-stage Retinex-based Transformer for Low-light Image
Enhancement", ICCV 2023 (arXiv:2303.06705).
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import cast

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
    gram,
    matrix,
    mix,
    mix_weight,
    pointwise,
    working_dtype,
)
from hdr_lightning.generators.tiles import Area, FeatureMap, crop, in_tiles


class Estimator(nn.Module):
    """Features of the light, and the gain that lifts it (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, channels, 1)
        self.depth_conv = nn.Conv2d(channels, channels, 5, padding=2, groups=4)
        self.conv2 = nn.Conv2d(channels, 3, 1)

    def forward(self, image: FeatureMap) -> FeatureMap:
        """From RGB to features of the light."""
        planes = torch.cat((image, image.mean(dim=1, keepdim=True)), dim=1)
        return self.depth_conv(pointwise(planes, *matrix(self.conv1, planes)))

    def gain(self, light: FeatureMap) -> FeatureMap:
        """From features of the light to what lifts the picture."""
        return pointwise(light, *matrix(self.conv2, light))


class Attention(nn.Module):
    """Parameters of the illumination-guided attention (section 3.2)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.rescale = nn.Parameter(torch.ones(heads, 1, 1))
        self.proj = nn.Linear(channels, channels)
        self.pos_emb = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=channels),
        )


class FeedForward(nn.Module):
    """Parameters of the feed-forward network and of the norm before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        net = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, bias=False, groups=4 * channels),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1, bias=False),
        )
        self.fn = nn.ModuleDict({"net": net})
        self.norm = ChannelNorm(channels, eps=1e-5)

    @property
    def convs(self) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
        """Widen, spread and narrow, with a GELU between them."""
        first, second, third = (layer for layer in self.fn["net"].children() if isinstance(layer, nn.Conv2d))
        return first, second, third


class GuidedBlock(Block):
    """Attention between channels whose values are scaled by the features of the light, then feed-forward (figure 2)."""

    look_halo = 0
    finish_halo = 3
    widening = 4

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        # The published layout numbers the two halves of a block.
        self.add_module("0", Attention(channels, heads))
        self.add_module("1", FeedForward(channels))

    @property
    def halves(self) -> tuple[Attention, FeedForward]:
        """The two halves by their type."""
        return cast("tuple[Attention, FeedForward]", tuple(self.children()))

    def prepare(self, like: FeatureMap) -> Weights:
        a, feed_forward = self.halves
        widen, _, narrow = feed_forward.convs
        qkv = torch.cat((a.to_q.weight, a.to_k.weight, a.to_v.weight)).to(working_dtype(like))
        return ((qkv, None), matrix(widen, like), matrix(narrow, like))

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        return pointwise(x, *weights[0])

    def summarise(self, seen: FeatureMap) -> tuple[FeatureMap, tuple[Tensor, ...]]:
        q, k, v = seen.chunk(3, dim=1)
        return v, gram(k, q, self.halves[0].heads)  # the published order: keys ask, queries answer

    def conclude(self, sums: tuple[Tensor, ...], pixels: Count) -> Tensor:
        attention = self.halves[0]
        return mix_weight(attention.proj.weight, channel_attention(sums, attention.rescale))

    def finish(
        self, x: FeatureMap, kept: FeatureMap, conclusion: Tensor, weights: Weights, inside: Area, *guides: FeatureMap
    ) -> FeatureMap:
        (light,) = guides
        attention, feed_forward = self.halves
        offset = attention.proj.bias.view(1, -1, 1, 1).to(x.dtype)
        x = x + mix(kept * light, conclusion) + offset + attention.pos_emb(kept)
        hidden = F.gelu(pointwise(feed_forward.norm(x), *weights[1]))
        hidden = crop(feed_forward.convs[1](hidden), inside)
        return crop(x, inside) + pointwise(F.gelu(hidden), *weights[2])


class GuidedStage(nn.Module):
    """Guided blocks at one resolution, under the published name `blocks`."""

    def __init__(self, channels: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(GuidedBlock(channels, heads) for _ in range(blocks))

    def forward(self, x: FeatureMap, light: FeatureMap) -> FeatureMap:
        for block in self.blocks:
            x = block(x, light)
        return x


class Denoiser(nn.Module):
    """A U-Net of guided blocks with two levels below full resolution."""

    def __init__(self, in_channels: int, channels: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        wide, wider = 2 * channels, 4 * channels

        def half(inside: int) -> nn.Conv2d:
            return nn.Conv2d(inside, 2 * inside, 4, stride=2, padding=1, bias=False)

        def double(inside: int) -> nn.ConvTranspose2d:
            return nn.ConvTranspose2d(inside, inside // 2, 2, stride=2)

        self.embedding = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.encoder_layers = nn.ModuleList(
            nn.ModuleList([GuidedStage(inside, inside // channels, blocks), half(inside), half(inside)])
            for inside, blocks in zip((channels, wide), num_blocks, strict=False)
        )
        self.bottleneck = GuidedStage(wider, 4, num_blocks[-1])
        self.decoder_layers = nn.ModuleList(
            nn.ModuleList(
                [
                    double(2 * inside),
                    nn.Conv2d(2 * inside, inside, 1, bias=False),
                    GuidedStage(inside, inside // channels, blocks),
                ]
            )
            for inside, blocks in zip((wide, channels), reversed(num_blocks[:2]), strict=True)
        )
        self.mapping = nn.Conv2d(channels, 3, 3, padding=1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, lit: FeatureMap, light: FeatureMap) -> FeatureMap:
        x = in_tiles(self.embedding, lit, halo=1)
        skips = []
        for level in self.encoder_layers:
            stage, half, half_light = cast("tuple[GuidedStage, nn.Conv2d, nn.Conv2d]", tuple(level.children()))
            x = stage(x, light)
            skips.append((x, light))
            x = in_tiles(half, x, halo=2, scale=Fraction(1, 2))
            light = in_tiles(half_light, light, halo=2, scale=Fraction(1, 2))
        x = self.bottleneck(x, light)
        for level in self.decoder_layers:
            double, fuse, stage = cast("tuple[nn.Module, nn.Conv2d, GuidedStage]", tuple(level.children()))
            skip, light = skips.pop()

            def join(x: FeatureMap, skip: FeatureMap, double: nn.Module = double, fuse: nn.Conv2d = fuse) -> FeatureMap:
                both = torch.cat((double(x), skip), dim=1)
                return pointwise(both, *matrix(fuse, both))

            x = in_tiles(join, x, scale=Fraction(2), beside=[skip])
            x = stage(x, light)
        return in_tiles(lambda x, i: self.mapping(x) + i[:, :3], x, lit, halo=1)


class Stage(nn.Module):
    """Estimate the light, lift it, repair."""

    def __init__(self, in_channels: int, channels: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        self.estimator = Estimator(channels)
        self.denoiser = Denoiser(in_channels, channels, num_blocks)

    def forward(self, image: FeatureMap) -> FeatureMap:
        rgb = image[:, :3]
        light = in_tiles(self.estimator, rgb, halo=2)
        lit = in_tiles(lambda rgb, light: rgb * self.estimator.gain(light) + rgb, rgb, light)
        return self.denoiser(torch.cat((lit, image[:, 3:]), dim=1), light)


class RetinexFormer(Generator):
    """RetinexFormer; its defaults are the published network of one stage (1,605,701 parameters).

    Args:
        n_feat: channels at full resolution, a multiple of 4; they double at each of the two levels below.
        stage: how often light is estimated, lifted and repaired.
        num_blocks: number of guided blocks at the three resolutions.
        in_channels: planes of the input; the first three are RGB, from which the light is estimated, and the others
            join them behind it.

    Raises:
        InputError: if `n_feat` is no multiple of 4, or not three levels are given.
    """

    stride = 4

    def __init__(
        self, n_feat: int = 40, stage: int = 1, num_blocks: Sequence[int] = (1, 2, 2), in_channels: int = 3
    ) -> None:
        super().__init__()
        if n_feat % 4:
            raise InputError(
                f"n_feat of RetinexFormer is {n_feat}: give a multiple of 4, as its estimator has 4 groups"
            )
        if len(num_blocks) != 3:
            raise InputError(f"RetinexFormer has 3 levels, num_blocks gives {len(num_blocks)}: give 3")
        self.in_channels = in_channels
        self.body = nn.Sequential(*(Stage(in_channels, n_feat, num_blocks) for _ in range(stage)))

    @property
    def stages(self) -> list[list[str]]:
        return [
            [f"body.{number}.{part}" for part in parts]
            for number in range(len(self.body))
            for parts in (
                ("estimator", "denoiser.embedding"),
                *((f"denoiser.encoder_layers.{level}",) for level in (0, 1)),
                ("denoiser.bottleneck",),
                *((f"denoiser.decoder_layers.{level}",) for level in (0, 1)),
                ("denoiser.mapping",),
            )
        ]

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        image = image.contiguous(memory_format=torch.channels_last)
        extra = image[:, 3:]
        output = image[:, :3]
        for stage in self.body:
            output = stage(torch.cat((output, extra), dim=1))
        return output
