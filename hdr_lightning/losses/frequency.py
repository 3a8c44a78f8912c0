"""Terms that compare frequencies."""

import torch

from hdr_lightning.image.filters import spectrum
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar, not_negative


class FFTAmplitude(LossTerm):
    """Mean absolute difference of the amplitudes of all frequencies (orthonormal): 0.01 to 0.1 on photos, 0 at best.

    Blind to phase, and so to where things are: a companion of terms that are not.
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (spectrum(prediction).abs() - spectrum(target).abs()).abs().mean()


class FocalFrequency(LossTerm):
    """Squared difference of the spectra, weighted by itself: frequencies that are off most count most.

    Jiang, Dai, Wu, Loy: "Focal Frequency Loss for Image Reconstruction and Synthesis", ICCV 2021. Below the mean
    squared error, 0.001 to 0.02 on photos, 0 at best.

    Args:
        alpha: exponent of the weights, >= 0; at 0 it is the mean squared error.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, alpha: float = 1.0, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        not_negative(self, alpha=alpha)
        self.alpha = alpha

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        difference = spectrum(prediction - target)
        squared = difference.real.square() + difference.imag.square()
        with torch.no_grad():
            weights = squared.sqrt() ** self.alpha
            weights = weights / weights.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)
        return (weights * squared).mean()
