"""Terms that compare structure: windows of pixels, edges, light apart from what it falls on."""

from hdr_lightning.errors import InputError
from hdr_lightning.image.filters import blur, sobel_gradient
from hdr_lightning.image.similarity import ms_ssim, ssim
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar


class SSIM(LossTerm):
    """1 - SSIM (Wang et al., 2004): in [0, 2], 0.1 to 0.4 on photos, 0 at best; pictures of 11 x 11 pixels or more."""

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return 1 - ssim(prediction, target).mean()


class MSSSIM(LossTerm):
    """1 - MS-SSIM (Wang et al., 2003): in [0, 1], 0.05 to 0.3 on photos, 0 at best; pictures of 11 x 11 pixels or more.

    Five scales from 176 pixels on, fewer below. Finite with a finite gradient on any pictures, inverted ones too, where
    the plain form is NaN (see `image.similarity.ms_ssim`).
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return 1 - ms_ssim(prediction, target).mean()


class SobelEdge(LossTerm):
    """Mean absolute difference of the Sobel gradients, right and down: in [0, 1], 0.01 to 0.03 on photos, 0 at best."""

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return sobel_gradient(prediction - target).abs().mean()


class TotalVariation(LossTerm):
    """Mean absolute difference of neighbours, right and down (Rudin et al., 1992, anisotropic): in [0, 2], 0 when flat.

    Usually 0.02 to 0.1 on photos. It compares with no target: it smooths.
    """

    compares = False

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return prediction.diff(dim=2).abs().mean() + prediction.diff(dim=3).abs().mean()


class IlluminationConsistency(LossTerm):
    """Mean absolute difference of the light, for Retinex decompositions: in [0, 1], 0.05 to 0.2 on photos, 0 at best.

    The light of a picture is its brightest channel, blurred (max-RGB of Land; Guo, Li, Ling: "LIME", 2017).

    Args:
        sigma: of the blur, in pixels, > 0.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, sigma: float = 8.0, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        if not sigma > 0:
            raise InputError(f"IlluminationConsistency: expected sigma > 0, got {sigma}")
        self.sigma = sigma

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        difference = prediction.amax(dim=1, keepdim=True) - target.amax(dim=1, keepdim=True)
        return blur(difference, self.sigma).abs().mean()
