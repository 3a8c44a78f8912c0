"""NAFNet: a restoration U-Net without activation functions.

Chen, Chu, Zhang, Sun: "Simple Baselines for Image Restoration", ECCV 2022 (arXiv:2204.04676).
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.generators.block import Weights
from hdr_lightning.generators.layers import local_mean, pointwise, simple_gate
from hdr_lightning.generators.tiles import FeatureMap
from hdr_lightning.generators.unet import GatedBlock, UNet


class NAFBlock(GatedBlock):
    """The block of figure 3c: gated depth-wise convolution with channel attention (eq. 5), then a gated 1x1 pair."""

    def __init__(self, channels: int, window: int | None = None) -> None:
        super().__init__(channels)
        self.window = window
        self.runs_in_strips = window is None
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)

    def forward(self, x: Float[Tensor, "n c h w"], *guides: Float[Tensor, "n g h w"]) -> Float[Tensor, "n c h w"]:
        if self.window is None or self.training:
            return super().forward(x)
        weights = self.prepare(x)
        seen = self.look(x, weights)
        scale = self.sca[1](local_mean(seen, self.window))
        return self.finish(x, seen, scale, weights, (slice(None), slice(None)))

    def look(self, x: FeatureMap, weights: Weights) -> FeatureMap:
        return simple_gate(self.conv2(pointwise(self.norm1(x), *weights[0])))


class NAFNet(UNet):
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
        InputError: if encoder and decoder differ in their number of levels, or the window is no window.
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
        if local_window is not None and local_window < 1:
            raise InputError(f"NAFNet: expected a local_window of 1 pixel or more, got {local_window}")

        def level(blocks: int, channels: int) -> nn.Sequential:
            window = None if local_window is None else max(1, local_window * width // channels)
            return nn.Sequential(*(NAFBlock(channels, window) for _ in range(blocks)))

        super().__init__(in_channels, width, encoder_blocks, decoder_blocks, level, level)
        self.middle_blks = level(middle_blocks, self.lowest)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        x, skips = self.encode(image)
        return self.decode(image, self.middle_blks(x), skips)
